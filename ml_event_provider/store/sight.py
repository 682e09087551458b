"""What a reader may see: rows of some workspaces, about some DAGs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select, Table


@dataclass(frozen=True, slots=True)
class Sight:
    """The workspaces whose rows are hidden, and the DAGs about which rows are shown: ``None`` is all.

    A row that tells of no DAG is shown to whoever sees its workspace.
    """

    hidden: frozenset[str] = frozenset()
    dags: frozenset[str] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is hidden."""
        return not self.hidden and self.dags is None

    def shows(self, workspace: str, dags: Iterable[str | None] = ()) -> bool:
        """Whether a row of that workspace, which tells of these DAGs, is shown."""
        if workspace in self.hidden:
            return False
        return self.dags is None or all(dag is None or dag in self.dags for dag in dags)

    def narrow(self, query: Select[Any], table: Table) -> Select[Any]:
        """The query for rows of a table with ``workspace`` and ``dag_id``, without those that are hidden."""
        if self.hidden:
            query = query.where(table.c.workspace.not_in(sorted(self.hidden)))
        if self.dags is not None:
            query = query.where(or_(table.c.dag_id.is_(None), table.c.dag_id.in_(sorted(self.dags))))
        return query


#: What whoever has the database sees: the command line, the dispatcher.
EVERYTHING = Sight()
