"""All dialects by name."""

from __future__ import annotations

from ml_event_provider.messages.chat import Markdown, Mrkdwn
from ml_event_provider.messages.dialect import Dialect, Json
from ml_event_provider.messages.mail import Html

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (Dialect(), Markdown(), Mrkdwn(), Html(), Json())}
