"""Looks over rules with what is around them here: connections, templates, DAGs, quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml_event_provider import config
from ml_event_provider.dispatch.attempt import default_renderer
from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.rules.linting import Remark, Surroundings, lint
from ml_event_provider.store import airflow_tables
from ml_event_provider.store.engine import database_now

if TYPE_CHECKING:
    from ml_event_provider.rules.files import Definitions


def lint_definitions(connection: Any, found: Definitions) -> list[Remark]:
    """What is wrong with definitions, or may be. Airflow's tables tell which connections and DAGs there are."""
    renderer = default_renderer()

    def has_template(name: str) -> bool:
        try:
            renderer.check(name)
        except TemplateProblem:
            return False
        return True

    connections = airflow_tables.connections(connection)
    return lint(
        found.rules,
        Surroundings(
            connections=connections,
            connection_types=connections,
            templates=has_template,
            quota=config.quota,
            groups=found.resource_groups,
            calendars=found.calendars,
            silences=found.silences,
            known_dags=airflow_tables.dag_ids(connection),
            now=database_now(connection),
        ),
    )
