// Checks KQL with Microsoft's own parser.
//
// Standard input:  {"tables": [{"name": "AuditLogs", "schema": "(TimeGenerated: datetime, …)"}], "queries": ["…", …]}
// Standard output: for each query {"diagnostics": [{"severity", "code", "message", "start", "text"}],
//                  "columns": [{"name", "type"}], "literals": [the value of each string literal, in order]}
// Offsets count UTF-16 units. Columns are empty where the query yields no table.
"use strict";

require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { readFileSync } = require("node:fs");
const { GlobalState, KustoCode, Symbols, Syntax } = globalThis.Kusto.Language;
const toArray = globalThis.Bridge.toArray;

function globalsOf(tables) {
  const symbols = tables.map(({ name, schema }) => Symbols.TableSymbol.From(schema).WithName(name));
  return GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1("workspace", symbols));
}

function diagnosticOf(diagnostic, query) {
  const { Severity: severity, Code: code, Message: message, Start: start, Length: length } = diagnostic;
  return { severity, code, message, start, text: query.slice(start, start + length) };
}

function columnOf(column) {
  return { name: column.Name, type: column.Type.Name };
}

function literalsOf(root) {
  const values = [];
  Syntax.SyntaxElement.WalkNodes(root, (node) => {
    if (node.Kind === Syntax.SyntaxKind.StringLiteralExpression) values.push(node.LiteralValue);
  });
  return values;
}

function check(query, globals) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  return {
    diagnostics: toArray(code.GetDiagnostics()).map((diagnostic) => diagnosticOf(diagnostic, query)),
    columns: toArray(code.ResultType?.Columns ?? []).map(columnOf),
    literals: literalsOf(code.Syntax),
  };
}

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
const globals = globalsOf(tables);
process.stdout.write(JSON.stringify(queries.map((query) => check(query, globals))));
