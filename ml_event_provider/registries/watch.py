"""Waiting for one model version's approval, across processes and errors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import RegistryError
from ml_event_provider.registries.model import Approval, ApprovalPolicy, ModelVersion, RegistryRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.registries.model import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A version as it was read at ``time``, and the approval status that it had."""

    version: ModelVersion
    status: Approval
    time: datetime


@dataclass(slots=True, kw_only=True)
class Watch:
    """One wait. Text by :meth:`to_json`, so that it survives a reschedule, a deferral and a dead process.

    ``version`` may be ``latest`` or ``@alias`` until the first sight names the version for good. ``pending``
    is the last sight before the ``decision``: ``None`` if the first sight was the decision already.
    ``errors`` counts how often in a row the registry could not be read; at ``max_errors`` the wait is given
    up.
    """

    model: str
    version: str
    policy: ApprovalPolicy
    max_errors: int
    pending: Sighting | None = None
    decision: Sighting | None = None
    errors: int = 0
    last_error: str = ""

    def look(self, registry: Registry, connection: Connection, *, timeout: float, now: datetime) -> None:
        """Read the version; an unreadable registry is counted.

        :raises RegistryError: if the registry refuses, or could not be read ``max_errors`` times in a row.
        """
        try:
            version = registry.get_version(connection, self.model, self.version, timeout=timeout)
        except RegistryRefused:
            raise
        except RegistryError as error:
            self.failed(str(error))
            return
        self.errors, self.last_error = 0, ""
        self.version = version.version
        sighting = Sighting(version=version, status=registry.approval(version, self.policy), time=now)
        if sighting.status is Approval.PENDING:
            self.pending = sighting
        else:
            self.decision = sighting

    def failed(self, reason: str) -> None:
        """Count one error in a row.

        :raises RegistryError: if it is one too many.
        """
        self.errors, self.last_error = self.errors + 1, reason
        if self.errors >= self.max_errors:
            raise RegistryError(f"gave up on {self.label()} after {self.errors} errors in a row; the last: {reason}")

    def label(self) -> str:
        """The version in words."""
        return f"version {self.version} of model {self.model!r}"

    def state(self) -> str:
        """What was last seen, in words: the status, the tag's value and the page in the registry."""
        last = self.decision or self.pending
        if last is None:
            return "never"
        version = last.version
        value = version.tags.get(self.policy.tag)
        tag = f"tag {self.policy.tag!r} " + ("is not set" if value is None else f"= {value!r}")
        aliases = f", aliases {', '.join(version.aliases) or 'none'}" if self.policy.alias else ""
        return f"{last.status} ({tag}{aliases}) {version.link}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """The watch as JSON."""
        document: dict[str, Any] = json.loads(self.to_json())
        return document

    def to_json(self) -> str:
        """The watch as a JSON text in ASCII.

        A text, since Airflow keeps it as part of a document of its own, and PostgreSQL's documents cannot hold each
        character that a model's name or tag may have.
        """
        return json.dumps(asdict(self), default=datetime.isoformat)

    @classmethod
    def from_dict(cls, written: str | Mapping[str, Any]) -> Watch:
        """Read what :meth:`to_json` or :meth:`to_dict` wrote."""
        document: Mapping[str, Any] = json.loads(written) if isinstance(written, str) else written
        policy = dict(document["policy"])
        policy.update(approved=tuple(policy["approved"]), rejected=tuple(policy["rejected"]))
        known = {**document, "policy": ApprovalPolicy(**policy)}
        known.update({name: _sighting(document[name]) for name in ("pending", "decision")})
        return cls(**known)


def _sighting(document: Mapping[str, Any] | None) -> Sighting | None:
    if document is None:
        return None
    version = {**document["version"], "aliases": tuple(document["version"]["aliases"])}
    return Sighting(
        version=ModelVersion(**version),
        status=Approval(document["status"]),
        time=datetime.fromisoformat(document["time"]),
    )
