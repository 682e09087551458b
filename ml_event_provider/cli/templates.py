"""``airflow ml-events templates …``."""

from __future__ import annotations

from typing import Any

from ml_event_provider import extensions
from ml_event_provider.cli.output import command
from ml_event_provider.cli.source import event_named
from ml_event_provider.dispatch.attempt import default_renderer
from ml_event_provider.exceptions import NotFound


@command
def render(args: Any) -> None:
    """Print the message of an event on one channel, or on all."""
    from ml_event_provider.messages.preview import sample_events

    samples = sample_events()
    if not args.event:
        raise NotFound(f"--event is missing: an event's id, a file, or one of {', '.join(samples)}")
    event = event_named(args.event)
    channels = {target.channel: target for target in extensions.targets().values()}
    unknown = [name for name in args.channel if name not in channels]
    if unknown:
        raise NotFound(f"no channel {unknown[0]!r}; there are {', '.join(sorted(channels))}")
    renderer = default_renderer()
    for name in args.channel or sorted(channels):
        can = channels[name].capabilities
        rendered = renderer.render(
            event,
            channel=name,
            dialect=can.dialect,
            max_title_bytes=can.max_title_bytes,
            max_body_bytes=can.max_body_bytes,
            rule="preview",
            template=args.template or None,
        )
        print(f"=== {name} ({rendered.template})\n{rendered.title}\n\n{rendered.body}")
        for part, text in rendered.parts.items():
            print(f"--- {part}\n{text}")
        for problem in rendered.problems:
            print(f"!!! {problem}")
        print()
