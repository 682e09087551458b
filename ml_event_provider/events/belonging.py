"""Which DAG an event belongs to: whoever may not read the DAG does not see the event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.model import attribute_text

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event

#: The CloudEvents extension that names the DAG whose task published an event, or whose events did not come.
DAG_EXTENSION: Final = "mleventsdag"
#: The longest id that Airflow gives a DAG, in characters.
LONGEST_DAG_ID: Final = 250


def by_dag(dag_id: Any) -> dict[str, str]:
    """The extensions of an event that belongs to a DAG; none for what is no DAG's id."""
    text = _text(dag_id)
    return {DAG_EXTENSION: text} if text else {}


def dag_of(event: Event) -> str | None:
    """The DAG that published an event, or else the one that its data tell of."""
    named = (event.extensions.get(DAG_EXTENSION), event.data.get("dag_id"), event.data.get("source_dag_id"))
    return next(filter(None, map(_text, named)), None)


def _text(dag_id: Any) -> str:
    return attribute_text("subject", dag_id)[:LONGEST_DAG_ID] if isinstance(dag_id, str) else ""
