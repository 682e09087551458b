"""What a target gets and gives: the message, the connection it goes over, and the result of one try."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from ml_event_provider.messages.about import About
from ml_event_provider.messages.links import web_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.connection import Connection
    from ml_event_provider.events import Event


class Outcome(StrEnum):
    """How one try ended."""

    DELIVERED = "delivered"
    #: Worth another try: throttled, busy, unreachable, 5xx.
    RETRY = "retry"
    #: Final: the remote refused this message or these credentials.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one try of one delivery ended, in the remote's own code and words.

    ``code`` is the remote's own (``"errcode 310000"``, ``"HTTP 503"``, ``"550"``); ``reason`` its words, at
    most 1000 characters, never a secret. ``retry_after`` is in seconds, where the remote asked for a wait.
    ``recipients`` holds per-recipient results where the protocol has them (e-mail): ``"delivered"``, else the
    remote's words; who has it is named in the next try's option ``skip_recipients``. ``attempted`` is False
    where the target held the message back to keep within the remote's rate: nothing was sent, and it should
    not count as a try.
    """

    outcome: Outcome
    code: str = ""
    reason: str = ""
    retry_after: float | None = None
    recipients: Mapping[str, str] = field(default_factory=dict)
    attempted: bool = True

    @classmethod
    def delivered(cls, code: str = "", reason: str = "", **more: Any) -> Result:
        """The remote said that it took the message."""
        return cls(outcome=Outcome.DELIVERED, code=code, reason=reason[:1000], **more)

    @classmethod
    def retry(cls, code: str, reason: str, retry_after: float | None = None, **more: Any) -> Result:
        """Not taken, but another try may succeed."""
        return cls(outcome=Outcome.RETRY, code=code, reason=reason[:1000], retry_after=retry_after, **more)

    @classmethod
    def refused(cls, code: str, reason: str, **more: Any) -> Result:
        """Not taken, and the same message will not be taken later."""
        return cls(outcome=Outcome.REFUSED, code=code, reason=reason[:1000], **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One rendered notification for one target.

    ``delivery_id`` is stable over retries: the idempotency key of every protocol that has one. ``title`` is
    one line of plain text, ``body`` is in the channel's dialect, ``parts`` the template's further blocks
    (``html``, ``json``, …). ``options`` are the rule's own for this target (mobiles to mention, …).
    ``run_url`` and ``log_url`` are absolute http(s) URLs, or empty whatever they were given.
    ``about`` says what became of the rule's alert.
    """

    delivery_id: str
    event: Event
    title: str
    body: str
    parts: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    severity: str = "info"
    options: Mapping[str, Any] = field(default_factory=dict)
    run_url: str = ""
    log_url: str = ""
    about: About = field(default_factory=About)

    def __post_init__(self) -> None:
        for name in ("run_url", "log_url"):
            object.__setattr__(self, name, web_address(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a channel can carry; the renderer respects it.

    ``dialect`` is ``"text"``, ``"markdown"``, ``"mrkdwn"`` (Slack), ``"html"`` or ``"json"``; sizes are in
    UTF-8 bytes.
    """

    dialect: str
    max_title_bytes: int = 200
    max_body_bytes: int = 16_000


class Target(Protocol):
    """One protocol. Instances hold no state of a delivery and are used from several threads.

    A target that does not send all of a message may say so, which saves the time to make it:
    ``parts(connection, options)`` gives those of ``title``, ``body``, ``html`` and ``json`` that it will send; the
    others are then empty.
    """

    #: The connection types that this target serves.
    connection_types: tuple[str, ...]
    #: The channel's name in template files (``<type>.<channel>.j2``).
    channel: str
    capabilities: Capabilities
    #: The options that whoever may use a connection may give in a message without a rule: who is to get it. All
    #: others, which shape the request itself, are the connection's, the rules' and those people's who may edit it.
    caller_options: frozenset[str]

    def send(self, connection: Connection, message: Message, *, timeout: float) -> Result:
        """Try once, within ``timeout`` seconds. Never raises for what the remote does: that is the result."""

    def check(self, connection: Connection, *, timeout: float) -> Result:
        """Say whether the connection works, in the remote's words (Airflow's "Test connection")."""
