"""The layers of ``setup.cfg`` hold, and what every Airflow process imports stays light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "airflow",
    "sqlalchemy",
    "requests",
    "pydantic",
    "cloudevents",
    "jinja2",
    "pandas",
    "great_expectations",
}
#: The pydantic models, which the catalogue imports when first asked for one.
LATE = {"ml_event_provider.events.airflow_types", "ml_event_provider.events.ml_types"}


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def loaded_by(*modules: str) -> dict[str, list[str]]:
    """The top-level packages that each module loads, in one fresh process, in this order."""
    script = (
        "import json, sys\n"
        "from importlib import import_module\n"
        "loaded, before = {}, set(sys.modules)\n"
        "for name in sys.argv[1:]:\n"
        "    import_module(name)\n"
        "    loaded[name] = sorted({module.partition('.')[0] for module in set(sys.modules) - before})\n"
        "    before = set(sys.modules)\n"
        "print(json.dumps(loaded))\n"
    )
    done = run_python("-c", script, *modules)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def modules_in(package: str) -> list[str]:
    folder = ROOT / "ml_event_provider" / package
    prefix = f"ml_event_provider.{package}"
    found = [prefix, *(module.name for module in walk_packages([str(folder)], f"{prefix}."))]
    assert len(found) > 1, f"no modules in {folder}"
    return [name for name in found if name not in LATE]


def test_imports_keep_to_the_layers() -> None:
    script = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    done = run_python("-c", script)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_provider_info_imports_the_standard_library_only() -> None:
    (loaded,) = loaded_by("ml_event_provider.get_provider_info").values()
    assert set(loaded) - sys.stdlib_module_names == {"ml_event_provider"}


@pytest.mark.parametrize("package", ["events", "sources"])
def test_task_processes_can_make_events_without_heavy_imports(package: str) -> None:
    loaded = loaded_by(*modules_in(package))
    heavy = {name: HEAVY.intersection(packages) for name, packages in loaded.items()}
    assert {name: found for name, found in heavy.items() if found} == {}


def test_the_check_sees_a_heavy_import() -> None:
    assert "pydantic" in loaded_by("ml_event_provider.events.ml_types")["ml_event_provider.events.ml_types"]


def test_only_who_measures_this_machine_asks_its_clock() -> None:
    """What several machines compare goes by the database's clock; one machine's serves skew and durations."""
    asks = {
        path.relative_to(ROOT / "ml_event_provider").as_posix()
        for path in (ROOT / "ml_event_provider").rglob("*.py")
        if "utc_now" in path.read_text("utf-8")
    }
    assert asks == {"store/engine.py", "dispatch/housekeeping.py", "dispatch/attempt.py"}
