"""The scope of a rule: whose events, of which DAGs, models, registries and projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.fields import Name, Names, Part, Short
from ml_event_provider.rules.matcher import Matcher, any_of, check_together, together
from ml_event_provider.rules.presets import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where events say what they are about.
_FIELDS: Final = {
    "dags": ("dag_id",),
    "pipelines": ("pipeline", "dag_id"),
    "models": ("model",),
    "registries": ("registry",),
    "projects": ("project",),
    "collections": ("collection",),
}


class Resources(Matcher):
    """Things that events are about. Each field that stands must hold; of its names, one."""

    dags: Names = Field((), description="DAG ids, with * for any characters.")
    pipelines: Names = Field((), description="Pipelines, or DAG ids: what data.pipeline or data.dag_id says.")
    models: Names = Field((), description="Registered models: what data.model says.")
    registries: Names = Field((), description="Model registries' kinds: what data.registry says.")
    projects: Names = Field((), description="Projects: what data.project says.")
    collections: Names = Field((), description="Artifact collections: what data.collection says.")

    def wishes(self) -> list[dict[str, Any]]:
        """The patterns that must all hold."""
        wishes = super().wishes()
        for name, keys in _FIELDS.items():
            names = getattr(self, name)
            if names:
                wishes.append(any_of([{"data": {key: [_named(one) for one in names]}} for key in keys]))
        return wishes


class ResourceGroup(Part):
    """A named list of things, for the scope of many rules."""

    name: Name = Field(description="Unique in the workspace.")
    workspace: Short = Field("default", description="The workspace whose rules may name the group.")
    description: str = Field("", max_length=10_000, description="What the group is.")
    members: tuple[Resources, ...] = Field(min_length=1, max_length=256, description="Any one of these must fit.")

    @model_validator(mode="after")
    def _members_ask(self) -> ResourceGroup:
        for number, member in enumerate(self.members):
            if not member.wishes():
                raise ValueError(f"members[{number}] is empty: it would fit every event")
        check_together(self.wish())
        return self

    def wish(self) -> dict[str, Any]:
        """The pattern that fits any member."""
        return any_of([together(member.wishes()) for member in self.members])


class Scope(Resources):
    """Narrows a rule: all that stands here must hold."""

    created_by: Names = Field((), description="Owners whose events count; 'me' is the rule's own owner.")
    groups: Names = Field((), description="Resource groups; the event must belong to one of them.")

    def narrowed(self, owner: str, groups: Mapping[str, ResourceGroup] | None) -> list[dict[str, Any]]:
        """The patterns that must all hold, for a rule of ``owner`` in a workspace with ``groups``.

        ``None`` for ``groups`` leaves out what the scope asks of them.

        :raises InvalidRule: if a group does not exist.
        """
        wishes = self.wishes()
        if self.created_by:
            wishes.append({"owner": [owner if one == "me" else _named(one) for one in self.created_by]})
        if self.groups and groups is not None:
            for name in self.groups:
                if name not in groups:
                    raise InvalidRule(
                        f"scope.groups: there is no resource group {name!r} in the workspace{nearest(name, groups)}"
                    )
            wishes.append(any_of([groups[name].wish() for name in self.groups]))
        return wishes


def _named(name: str) -> Any:
    return {"wildcard": name} if "*" in name else name
