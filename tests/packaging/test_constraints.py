"""The pins in constraints.txt fit together, and with what our users run beside us."""

from __future__ import annotations

from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = ("all", "slack", "email", "http", "great-expectations", "postgres", "dev")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def wanted(requirement: str, extras: tuple[str, ...]) -> Requirement | None:
    """The requirement, if it counts here."""
    read = Requirement(requirement)
    counts = read.marker is None or any(read.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
    return read if counts else None


@pytest.mark.parametrize("package", ["airflow-provider-ml-events", "apache-airflow-providers-fab"])
def test_each_requirement_has_a_pin_that_satisfies_it(package):
    pinned, seen, problems = pins(), set(), []
    ahead: list[tuple[str, tuple[str, ...]]] = [(package, EXTRAS if "ml-events" in package else ())]
    while ahead:
        name, extras = ahead.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in requires(name) or ():
            if (needed := wanted(line, extras)) is None:
                continue
            found = canonicalize_name(needed.name)
            if found == "airflow-provider-ml-events":
                continue
            if found not in pinned:
                problems.append(f"{name} needs {needed.name}, which has no pin")
                continue
            if not needed.specifier.contains(pinned[found], prereleases=True):
                problems.append(f"{name} needs {needed}, pinned is {pinned[found]}")
            ahead.append((found, tuple(sorted(needed.extras))))
    assert not problems
    assert len(seen) > 20
