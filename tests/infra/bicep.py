"""Bicep files as the tests see them: what each declares, and every name it uses. Syntax by tree-sitter; no compiler."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import tree_sitter
import tree_sitter_bicep

INFRA: Final = Path(__file__).parents[2] / "infra"
FILES: Final = sorted(INFRA.rglob("*.bicep"))
ROOTS: Final = (INFRA / "main.bicep", INFRA / "sentinel.bicep")
_PARSER: Final = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
_DECLARATIONS: Final = {
    "parameter_declaration", "variable_declaration", "resource_declaration", "module_declaration", "output_declaration",
}  # fmt: skip

Node = tree_sitter.Node


def text(node: Node) -> str:
    """Return a node's text."""
    return (node.text or b"").decode()


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def properties(node: Node) -> dict[str, Node]:
    """Return the properties of an object by name, each with its value."""
    found = {}
    for each in node.named_children:
        if each.type == "object_property" and len(each.named_children) == 2:
            key, value = each.named_children
            found[text(key).strip("'")] = value
    return found


def body(declaration: Node) -> Node:
    """Return the object of a declaration, within its condition or loop."""
    return next(node for node in walk(declaration) if node.type == "object")


class File:
    """A Bicep file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = _PARSER.parse(path.read_bytes()).root_node
        self.top = [node for node in self.root.named_children if node.type in _DECLARATIONS]

    def of(self, kind: str) -> dict[str, Node]:
        """Return the declarations of a kind, by their symbolic names."""
        found = [node for node in self.top if node.type == f"{kind}_declaration"]
        return {text(node.named_children[0]): node for node in found}

    @cached_property
    def declared(self) -> set[str]:
        """Every name that expressions may use; an output is none."""
        return {name for kind in ("parameter", "variable", "resource", "module") for name in self.of(kind)}

    @cached_property
    def used(self) -> list[str]:
        """Every name that an expression uses, but for those of functions and of loops."""
        return [name for node in self.top for name in _names(node, node.named_children[0], frozenset())]

    def module_path(self, module: Node) -> Path:
        """Return the file that a module is."""
        return (self.path.parent / text(module.named_children[1]).strip("'")).resolve()

    def arguments(self, module: Node) -> dict[str, Node]:
        """Return what a module is given, by parameter."""
        given = properties(body(module)).get("params")
        return properties(given) if given else {}

    def decorators(self, declaration: Node) -> dict[str, Node]:
        """Return what stands above a declaration, by function."""
        before = declaration.prev_named_sibling
        if before is None or before.type != "decorators":
            return {}
        calls = [node for node in walk(before) if node.type == "call_expression"]
        return {text(call.named_children[0]): call for call in calls}

    def calls(self, function: str) -> list[Node]:
        """Return the arguments of every call of a function."""
        calls = [node for node in walk(self.root) if node.type == "call_expression"]
        return [call.named_children[1] for call in calls if text(call.named_children[0]) == function]


def parameter_type(parameter: Node) -> str:
    """Return a parameter's type as it is written."""
    return next(text(node) for node in parameter.named_children if node.type == "type")


def default(parameter: Node) -> Node | None:
    """Return a parameter's default, None where it has to be given."""
    last = parameter.named_children[-1]
    return None if last.type in {"type", "comment"} else last


def kind_of(value: Node) -> str:
    """Return the type of a literal, "" for what would need a compiler."""
    return {"string": "string", "number": "int", "boolean": "bool", "array": "array", "object": "object"}.get(
        value.type, ""
    )


@lru_cache
def file(path: Path) -> File:
    """Return a file, parsed once."""
    return File(path)


def _names(node: Node, declared: Node, loop: frozenset[str]) -> Iterator[str]:
    """Yield the names used below a node; `declared` is the name of the declaration, `loop` those of loops around."""
    if node.id == declared.id or node.type in {"type", "decorators"}:
        return
    if node.type == "identifier":
        after = node.next_sibling  # the grammar takes a call that begins a list for a name and its arguments
        if text(node) not in loop and (after is None or not text(after).startswith("(")):
            yield text(node)
        return
    children = list(node.named_children)
    if (node.type == "object_property" and len(children) == 2 and children[0].type == "identifier") or (
        node.type == "call_expression" and children[0].type == "identifier"
    ):
        children = children[1:]
    if node.type == "for_statement":
        loop |= {text(children[0])}
        children = children[1:]
    for child in children:
        yield from _names(child, declared, loop)
