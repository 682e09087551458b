"""The example DAGs: Airflow finds them by its own way, takes them, and a person may trigger them by hand."""

from __future__ import annotations

import ast
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from airflow import __version__ as airflow_version
from airflow.dag_processing.bundles.manager import DagBundlesManager
from jinja2 import meta
from packaging.version import Version

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "dags").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: The first version that shows what providers bring.
SHOWS_PROVIDERS_EXAMPLES = Version("3.3.0")


@pytest.fixture
def with_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")


def test_airflow_looks_for_them_without_an_error(with_examples, caplog):
    with caplog.at_level(logging.WARNING):
        bundles = list(DagBundlesManager().get_all_bundle_names())
    assert not [one.getMessage() for one in caplog.records if "ml_events" in one.getMessage()]
    shown = "airflow-provider-ml-events-example-dags" in bundles
    assert shown == (Version(airflow_version) >= SHOWS_PROVIDERS_EXAMPLES)


@pytest.mark.skipif(Version(airflow_version) < SHOWS_PROVIDERS_EXAMPLES, reason="Airflow shows none of providers")
def test_what_airflow_shows_are_the_files_in_dags(with_examples):
    bundle = DagBundlesManager().get_bundle("airflow-provider-ml-events-example-dags")
    assert sorted(one.name for one in bundle.path.glob("*.py")) == [one.name for one in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_takes_no_name_that_a_persons_dag_may_have_and_says_what_it_needs(path, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    bag = DagBag(path)
    assert bag.import_errors == {}
    assert sorted(bag.dags) == [f"example_{path.stem}"]
    (dag,) = bag.dags.values()
    assert dag.doc_md
    for connection in re.findall(r"\b(?:ml_webhook|ml_slack|ml_dingtalk)\b", path.read_text("utf-8")):
        assert connection in dag.doc_md


def texts() -> list[tuple[str, str]]:
    """Each text with an expression in the code of examples and pages, and where it stands."""
    codes = [(path.name, path.read_text("utf-8")) for path in EXAMPLES]
    codes += [(page.name, code) for page in PAGES for code in _PYTHON.findall(page.read_text("utf-8"))]
    return [
        (name, node.value)
        for name, code in codes
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{{" in node.value
    ]


@pytest.fixture(scope="module")
def by_hand() -> set[str]:
    """What a template may name in a run that somebody triggered: such a run has no logical date."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    moment = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with DAG("by_hand", schedule=None):
        task = EmptyOperator(task_id="task")
    run = DagRun.model_construct(
        dag_id="by_hand", run_id="manual", run_type="manual", run_after=moment, start_date=moment, clear_number=0,
        logical_date=None, data_interval_start=None, data_interval_end=None, consumed_asset_events=[], conf={},
        end_date=None, team_name=None, partition_key=None, note=None,
    )  # fmt: skip
    ti = RuntimeTaskInstance.model_construct(
        id=UUID(int=1), task_id="task", dag_id="by_hand", run_id="manual", try_number=1, map_index=-1, task=task
    )
    object.__setattr__(ti, "__pydantic_private__", {"_ti_context_from_server": None, "_cached_template_context": None})
    ti._ti_context_from_server = TIRunContext.model_construct(dag_run=run, max_tries=0, upstream_map_indexes=None)
    return set(ti.get_template_context())


def test_a_run_by_hand_has_no_date_of_its_own(by_hand):
    assert "dag_run" in by_hand
    assert "ds" not in by_hand


@pytest.mark.parametrize(("where", "text"), texts())
def test_an_example_names_nothing_that_a_run_by_hand_lacks(where, text, by_hand):
    from airflow.sdk.definitions._internal.templater import SandboxedEnvironment

    assert meta.find_undeclared_variables(SandboxedEnvironment().parse(text)) <= by_hand, where
