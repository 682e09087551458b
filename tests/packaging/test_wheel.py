"""The wheel, installed alone in a fresh environment, works: it lacks nothing that only this checkout has."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "dags").glob("*.py"))


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out)
    assert list(out.glob("*.tar.gz")), "no source distribution"
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str]]:
    """The bin folder and home of an environment with the wheel and nothing else of ours."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    run(
        programs / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        ROOT / "constraints.txt",
        wheel,
        cwd=folder,
    )
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "_AIRFLOW", "PYTHON"))},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    run(programs / "airflow", "db", "migrate", cwd=folder, env=environment)
    return programs, folder, environment


def test_wheel_holds_package_templates_migrations_examples_and_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "ml_event_provider/templates/message.j2",
        "ml_event_provider/store/alembic.ini",
        "ml_event_provider/store/migrations/env.py",
        "ml_event_provider/store/migrations/versions/v0001_first_tables.py",
        "ml_event_provider/py.typed",
        *(f"airflow_provider_ml_events/example_dags/{path.name}" for path in EXAMPLES),
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "ml_event_provider",
        "airflow_provider_ml_events",
        next(name.split("/")[0] for name in names if ".dist-info" in name),
    }


def test_its_requirements_fit_together(installed):
    programs, folder, environment = installed
    run(programs / "python", "-m", "pip", "check", cwd=folder, env=environment)


def test_airflow_finds_provider_tables_and_commands(installed):
    programs, folder, environment = installed
    assert "airflow-provider-ml-events" in run(programs / "airflow", "providers", "list", cwd=folder, env=environment)
    assert "no events yet" in run(programs / "airflow", "ml-events", "events", "list", cwd=folder, env=environment)
    rendered = run(
        programs / "airflow",
        *("ml-events", "templates", "render", "--event", "airflow.task_instance.failed", "--channel", "dingtalk"),
        cwd=folder,
        env=environment,
    )
    assert "failed" in rendered


def test_airflow_shows_the_examples_and_can_parse_them_without_any_extra(installed):
    programs, folder, environment = installed
    code = """
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
bundle = DagBundlesManager().get_bundle("airflow-provider-ml-events-example-dags")
bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
assert not bag.import_errors, bag.import_errors
print("examples:", *sorted(bag.dags))
"""
    shown = run(programs / "python", "-c", code, cwd=folder, env=environment | {"AIRFLOW__CORE__LOAD_EXAMPLES": "True"})
    assert "examples: " + " ".join(f"example_{path.stem}" for path in EXAMPLES) in shown
    assert "Could not load provider module airflow_provider_ml_events" not in shown


def test_every_class_that_the_provider_names_can_be_imported(installed):
    programs, folder, environment = installed
    code = """
from importlib import import_module
from ml_event_provider.get_provider_info import get_provider_info
info = get_provider_info()
for kind in ("operators", "sensors", "triggers", "hooks"):
    for one in info[kind]:
        for module in one["python-modules"]:
            import_module(module)
paths = [*info["notifications"], *info["db-managers"], *info["cli"]]
paths += [one["hook-class-name"] for one in info["connection-types"]]
paths += [one["plugin-class"] for one in info["plugins"]]
for path in paths:
    module, name = path.rsplit(".", 1)
    getattr(import_module(module), name)
print("all", len(paths))
"""
    assert "all" in run(programs / "python", "-c", code, cwd=folder, env=environment)
