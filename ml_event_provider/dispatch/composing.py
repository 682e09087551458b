"""Makes the message of a delivery: only those parts that its target will send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_event_provider.messages.about import About
from ml_event_provider.messages.renderer import PARTS
from ml_event_provider.targets import Message

if TYPE_CHECKING:
    from ml_event_provider.connection import Connection
    from ml_event_provider.events.model import Event
    from ml_event_provider.messages import Renderer
    from ml_event_provider.store.deliveries import Delivery
    from ml_event_provider.targets import Target


@dataclass(frozen=True, slots=True)
class Composed:
    """A message, and what was wrong with its templates."""

    message: Message
    problems: tuple[str, ...]

    @property
    def unused(self) -> str:
        """Which template could not be used and why, if one could not."""
        return next((problem for problem in self.problems if " was not used: " in problem), "")


def body_template(connection: Connection, delivery: Delivery) -> str:
    """The JSON body that the user wrote: the rule's for this target, else the connection's, else an empty text."""
    return str(delivery.options.get("body_template") or connection.extra_dejson.get("body_template") or "")


def compose(
    delivery: Delivery, event: Event, *, target: Target, connection: Connection, renderer: Renderer
) -> Composed:
    """The message about ``event``.

    :raises TemplateProblem: if the user's own JSON body cannot be made: no other will do.
    """
    about = About(
        kind=delivery.kind,
        id=delivery.alert_id,
        members=delivery.members,
        facts=delivery.facts,
        others=tuple(one.event for one in delivery.others),
    )
    wants = getattr(target, "parts", None)
    parts = PARTS if wants is None else PARTS.intersection(wants(connection, delivery.options))
    written = ""
    source = body_template(connection, delivery) if target.capabilities.dialect == "json" else ""
    if source and "json" in parts:
        written = renderer.render_json(
            source,
            event,
            rule=delivery.rule,
            severity=delivery.severity,
            options=delivery.options,
            about=about,
            of=f"{delivery.workspace}/{delivery.conn_id}",
        )
        parts -= {"json"}
    rendered = renderer.render(
        event,
        channel=target.channel,
        dialect=target.capabilities.dialect,
        max_title_bytes=target.capabilities.max_title_bytes,
        max_body_bytes=target.capabilities.max_body_bytes,
        rule=delivery.rule,
        severity=delivery.severity,
        template=delivery.template,
        options=delivery.options,
        about=about,
        parts=parts,
    )
    message = Message(
        delivery_id=delivery.id,
        event=event,
        title=rendered.title,
        body=rendered.body,
        parts={**rendered.parts, "json": written} if written else rendered.parts,
        rule=delivery.rule,
        severity=delivery.severity,
        options=delivery.options,
        run_url=str(event.data.get("url") or ""),
        log_url=str(event.data.get("log_url") or ""),
        about=about,
    )
    return Composed(message, rendered.problems)
