"""Bicep without a compiler: it parses, every name resolves, and nothing is declared that nobody uses."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.infra.bicep import (
    FILES,
    INFRA,
    ROOTS,
    Node,
    body,
    default,
    file,
    kind_of,
    parameter_type,
    properties,
    text,
    walk,
)  # fmt: skip

_BUILT_IN = {"null", "az", "sys"}
_EACH = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))


@_EACH
def test_it_parses(path: Path) -> None:
    """tree-sitter finds no error and nothing missing."""
    wrong = [node for node in walk(file(path).root) if node.is_error or node.is_missing]
    assert not wrong, [(node.start_point, text(node)) for node in wrong]


@_EACH
def test_every_name_resolves(path: Path) -> None:
    """An expression uses only what the file declares."""
    bicep = file(path)
    assert set(bicep.used) - bicep.declared - _BUILT_IN == set()


@_EACH
def test_nothing_is_declared_in_vain(path: Path) -> None:
    """Every parameter, variable and existing resource is used."""
    bicep, used = file(path), set(file(path).used)
    existing = {
        name for name, node in bicep.of("resource").items() if any(each.type == "existing" for each in walk(node))
    }
    assert (bicep.of("parameter").keys() | bicep.of("variable").keys() | existing) - used == set()


@_EACH
def test_everything_is_described(path: Path) -> None:
    """Each parameter and output says what it is, in a sentence."""
    bicep = file(path)
    for name, node in (bicep.of("parameter") | bicep.of("output")).items():
        described = bicep.decorators(node).get("description")
        assert described is not None, name
        assert re.search(r"\.'\)$", text(described)), name


@_EACH
def test_defaults_fit_their_types(path: Path) -> None:
    """A literal default is of the parameter's type, and one of the allowed values."""
    bicep = file(path)
    for name, node in bicep.of("parameter").items():
        value, allowed = default(node), bicep.decorators(node).get("allowed")
        if value is not None and kind_of(value):
            assert kind_of(value) == parameter_type(node), name
            assert allowed is None or text(value) in text(allowed), name


@_EACH
def test_modules_are_given_what_they_take(path: Path) -> None:
    """A module is given every parameter that it needs, none that it lacks, and literals of the right type."""
    bicep = file(path)
    for name, node in bicep.of("module").items():
        taken = file(bicep.module_path(node)).of("parameter")
        given = bicep.arguments(node)
        assert given.keys() <= taken.keys(), name
        assert {each for each, declared in taken.items() if default(declared) is None} <= given.keys(), name
        for argument, value in given.items():
            wanted = parameter_type(taken[argument])
            found = kind_of(value) or _type_of(value, bicep.of("parameter"))
            assert _fits(found, wanted), f"{name}.{argument}: {found} for {wanted}"


def _type_of(value: Node, parameters: dict[str, Node]) -> str:
    """Return the type of a value that is a parameter and nothing else, "" for what would need a compiler."""
    return parameter_type(parameters[text(value)]) if text(value) in parameters else ""


def _fits(found: str, wanted: str) -> bool:
    if not found or found == wanted:
        return True
    return (found == "object" and wanted.startswith("{") and wanted.endswith("}")) or (
        found == "array" and wanted.endswith("[]")
    )


@_EACH
def test_outputs_of_modules_resolve(path: Path) -> None:
    """What is taken from a module is among its outputs; from one with a condition, only with a `!` or a `?`."""
    bicep = file(path)
    modules = bicep.of("module")
    for name, sign, output in re.findall(r"\b(\w+)([!?]?)\.\??outputs\.\??(\w+)", path.read_text(encoding="utf-8")):
        assert output in file(bicep.module_path(modules[name])).of("output"), f"{name}.{output}"
        conditional = any(node.type == "if_statement" for node in modules[name].named_children)
        assert bool(sign) == conditional, f"{name}.{output}"


@_EACH
def test_objects_of_a_typed_parameter_have_its_properties(path: Path) -> None:
    """An object that a module takes by a type has every property of that type, and no other."""
    bicep = file(path)
    for node in bicep.of("module").values():
        taken = file(bicep.module_path(node)).of("parameter")
        for argument, value in bicep.arguments(node).items():
            wanted = re.findall(r"^\s+(\w+): string", parameter_type(taken[argument]), re.MULTILINE)
            objects = (
                [value] if value.type == "object" else [each for each in value.named_children if each.type == "object"]
            )
            for each in objects if wanted else ():
                assert sorted(properties(each)) == sorted(wanted), argument


@_EACH
def test_files_that_are_loaded_exist(path: Path) -> None:
    """Files for loadTextContent and loadJsonContent are there, and the latter's are JSON."""
    for function in ("loadTextContent", "loadJsonContent"):
        for arguments in file(path).calls(function):
            loaded = path.parent / text(arguments.named_children[0]).strip("'")
            assert loaded.is_file(), loaded
            if function == "loadJsonContent":
                json.loads(loaded.read_text(encoding="utf-8"))


def test_every_file_is_part_of_a_deployment() -> None:
    """Each Bicep file is a root or a module of one."""
    reached, left = set(), list(ROOTS)
    while left:
        path = left.pop()
        reached.add(path)
        left += [file(path).module_path(node) for node in file(path).of("module").values()]
    assert reached == set(FILES)


def test_each_type_has_one_version() -> None:
    """A resource type is declared in one API version everywhere, and in no preview."""
    versions = defaultdict(set)
    for path in FILES:
        for node in file(path).of("resource").values():
            kind, _, version = text(node.named_children[1]).strip("'").partition("@")
            versions[kind].add(version)
    assert {kind: found for kind, found in versions.items() if len(found) > 1 or "preview" in "".join(found)} == {}


def test_no_deployment_of_azd_writes_into_the_workspaces_group() -> None:
    """All of main.bicep lies in its own group: azd down deletes every group that its deployment wrote into."""
    main = file(INFRA / "main.bicep")
    for name, node in main.of("module").items():
        assert text(properties(body(node))["scope"]) == "group", name
    assert "resourceGroup(" not in (INFRA / "main.bicep").read_text(encoding="utf-8")


def test_modules_have_no_names() -> None:
    """A module's deployment is named by the compiler, as the linter has it."""
    for path in FILES:
        for node in file(path).of("module").values():
            assert "name" not in properties(body(node))


def test_no_address_of_a_cloud_is_written_down() -> None:
    """Addresses come from resources or environment(), so that sovereign clouds work."""
    for path in FILES:
        assert not re.search(
            r"core\.windows\.net|management\.azure\.com|microsoftonline", path.read_text(encoding="utf-8")
        ), path


def test_no_secret_is_asked_for() -> None:
    """Nothing lists keys, and no setting holds one."""
    for path in FILES:
        assert not re.search(r"list\w*Keys|listKeys|AccountKey|sharedKey\w*: true", path.read_text(encoding="utf-8")), (
            path
        )


def test_conditional_resources_are_asserted() -> None:
    """What has a condition is only used with a `!`: the compiler warns otherwise."""
    for path in FILES:
        for name, node in file(path).of("resource").items():
            if any(each.type == "if_statement" for each in node.named_children):
                assert not re.search(rf"\b{name}\.", path.read_text(encoding="utf-8")), name
