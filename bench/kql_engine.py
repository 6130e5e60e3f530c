"""The peer: loads an export into DuckDB and runs the rule's own text with duckdb-kql."""

import sys

import duckdb_kql

from rare_audit.detection.query import render
from rare_audit.detection.ticks import parse_ticks
from rare_audit.rules import load_rule

_LOAD = """
create table AuditLogs as
select * replace (
    TimeGenerated::TIMESTAMPTZ as TimeGenerated, InitiatedBy::JSON as InitiatedBy,
    TargetResources::JSON as TargetResources
) from read_json_auto(?, format = 'newline_delimited')
"""


def main(path: str, start: str) -> None:
    """Print how many rows the rule reports from `start` on."""
    connection = duckdb_kql.connect()
    connection.execute(_LOAD, [path])
    text = render(load_rule(), parse_ticks(start))
    text = text.replace("TargetResources.[0]", "TargetResources[0]").replace("make_bag(", "take_any(")
    print(len(duckdb_kql.kql(connection, text).fetchall()))


if __name__ == "__main__":
    main(*sys.argv[1:3])
