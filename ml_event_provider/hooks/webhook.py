"""The hook of connections of type ``mleventswebhook``."""

from __future__ import annotations

from typing import ClassVar

from ml_event_provider.hooks.target import TargetHook


class WebhookHook(TargetHook):
    """Posts signed messages to a URL; see :mod:`ml_event_provider.targets.webhook`."""

    default_conn_name: ClassVar[str] = "ml_events_webhook_default"
    conn_type: ClassVar[str] = "mleventswebhook"
    hook_name: ClassVar[str] = "ML Events: Webhook"
