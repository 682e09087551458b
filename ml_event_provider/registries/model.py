"""What a model registry answers, in one vocabulary for all registries."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.connection import Connection


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

    With ``alias`` set, the version that bears it is approved; else ``tag`` holds the status. ``approved`` and
    ``rejected`` are the tag values of each, compared without case.
    """

    tag: str = "validation_status"
    approved: tuple[str, ...] = ("approved",)
    rejected: tuple[str, ...] = ("rejected",)
    alias: str = ""


class Registry(Protocol):
    """One kind of model registry, read through an Airflow connection."""

    #: The name in ``ModelApprovalSensor(registry=…)`` and in events.
    name: str

    def get_version(self, connection: Connection, model: str, version: str, *, timeout: float) -> ModelVersion:
        """Read one version now.

        :raises RegistryError: if it cannot be read; the message holds the registry's words.
        """

    def approval(self, version: ModelVersion, policy: ApprovalPolicy) -> Approval:
        """The approval status that ``policy`` reads from ``version``."""
