"""What is taken from Airflow is there, in whichever version these tests run, and Airflow does not call it private."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("ml_event_provider", "dags", "lab", "demo")


class Taken(NamedTuple):
    """A name that a file takes from a module of Airflow, with the line where it does."""

    place: str
    module: str
    name: str


def taken(path: Path) -> Iterator[Taken]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    with_fall_back = {
        id(inner)
        for tried in ast.walk(tree)
        if isinstance(tried, ast.Try) and any("ImportError" in ast.dump(handler) for handler in tried.handlers)
        for line in tried.body
        for inner in ast.walk(line)
    }
    for node in ast.walk(tree):
        if id(node) in with_fall_back:
            continue
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "airflow":
            yield from (Taken(place, node.module or "", one.name) for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (Taken(place, one.name, "") for one in node.names if one.name.split(".")[0] == "airflow")


ALL = [one for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) for one in taken(path)]


def test_the_files_take_something():
    assert len(ALL) > 50


@pytest.mark.parametrize(("module", "name"), sorted({(one.module, one.name) for one in ALL}))
def test_this_airflow_has_what_is_taken_from_it(module, name):
    found = import_module(module)
    if name and not hasattr(found, name):
        import_module(f"{module}.{name}")


def test_nothing_private_is_taken():
    private = [one for one in ALL if any(part.startswith("_") for part in (*one.module.split("."), one.name))]
    assert not private
