"""What a model registry answers, in one vocabulary for all registries."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from ml_event_provider.exceptions import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.connection import Connection


class RegistryRefused(RegistryError):
    """The registry answered no, and will answer no again: no such version, no permission, a wrong name.

    ``code`` is the registry's own error code, where it gave one.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Approval(StrEnum):
    """A model version's approval status (SageMaker's and PAI's three values)."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of one registered model, as the registry tells it now."""

    model: str
    version: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    run_id: str = ""
    description: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """How approval is told in a registry that has no such field: by a tag's value or by an alias.

    With ``alias`` set, the version that bears it is approved; else ``tag`` holds the status. A version is
    rejected by ``tag`` in both cases, and a rejection outweighs the alias. ``approved`` and ``rejected`` are
    the tag values of each; values and the alias are compared without case.
    """

    tag: str = "validation_status"
    approved: tuple[str, ...] = ("approved",)
    rejected: tuple[str, ...] = ("rejected",)
    alias: str = ""

    def status(self, version: ModelVersion) -> Approval:
        """The status that the version's tags and aliases tell."""
        value = version.tags.get(self.tag, "").strip().casefold()
        if value in _folded(self.rejected):
            return Approval.REJECTED
        if self.alias:
            return Approval.APPROVED if self.alias.casefold() in _folded(version.aliases) else Approval.PENDING
        return Approval.APPROVED if value in _folded(self.approved) else Approval.PENDING

    def wanted(self) -> str:
        """What a version needs for its approval, in words."""
        if self.alias:
            return f"alias {self.alias!r}"
        return f"tag {self.tag!r} = {' or '.join(map(repr, self.approved))}"


def _folded(values: tuple[str, ...]) -> set[str]:
    return {value.strip().casefold() for value in values}


class Registry(Protocol):
    """One kind of model registry, read through an Airflow connection."""

    #: The name in ``ModelApprovalSensor(registry=…)`` and in events.
    name: str

    def get_version(self, connection: Connection, model: str, version: str, *, timeout: float) -> ModelVersion:
        """Read one version now; ``version`` is a version's name, ``latest`` or ``@`` and an alias.

        :param timeout: the longest wait for the registry, in seconds.
        :raises RegistryRefused: if asking again cannot help; the message holds the registry's words.
        :raises RegistryError: if it cannot be read for another reason.
        """

    def approval(self, version: ModelVersion, policy: ApprovalPolicy) -> Approval:
        """The approval status that ``policy`` reads from ``version``."""
