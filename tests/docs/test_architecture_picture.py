"""The picture of rooms and arrows in docs/architecture.md, held against what the code imports."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PICTURE: Final = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
Arrows = dict[str, set[str]]


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imports() -> Arrows:
    """Return which rooms each room imports; rooms are what lies directly in the package, and the functions' entry."""
    arrows: Arrows = {}
    for path in [ROOT / "function_app.py", *(ROOT / "rare_audit").rglob("*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = parts[1] if parts[0] == "rare_audit" else parts[0]
        names = [name.split(".") for name in _imported(path)]
        reached = {name[1] for name in names if name[0] == "rare_audit" and len(name) > 1}
        arrows.setdefault(room, set()).update(reached - {room})
    del arrows["__init__"], arrows["__main__"]
    return arrows


def _reach(arrows: Arrows) -> Arrows:
    """Return all that each room reaches, over whichever others."""
    reach: Arrows = {}
    for room in TopologicalSorter(arrows).static_order():
        direct = arrows.get(room, set())
        reach[room] = direct.union(*(reach[other] for other in direct))
    return reach


def _needed(arrows: Arrows) -> set[tuple[str, str]]:
    """Return the arrows that do not follow from others."""
    reach = _reach(arrows)
    return {
        (room, other)
        for room, direct in arrows.items()
        for other in direct
        if not any(other in reach[third] for third in direct - {other})
    }


def test_the_picture_is_the_code() -> None:
    """It has every arrow that does not follow from others, and no arrow more."""
    drawn = re.search(r"```mermaid\nflowchart TD\n(.*?)```", PICTURE, re.DOTALL)
    assert drawn is not None
    lines = [line.strip().split(" --> ") for line in drawn[1].splitlines()]
    arrows = {(here, there) for here, there in lines}
    assert len(arrows) == len(lines)
    assert arrows == _needed(_imports())


def test_every_room_has_a_line() -> None:
    """The table below the picture tells of each room, but for the few that their names explain."""
    rows = re.findall(r"^\| (`.+?) \|", PICTURE, re.MULTILINE)
    told = {name.removesuffix("/").removesuffix(".py") for row in rows for name in re.findall(r"`([\w./]+)`", row)}
    explained = {"errors", "places", "rules", "settings", "watch"}
    assert told == _imports().keys() - explained | {"function_app"}
