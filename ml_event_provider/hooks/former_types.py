"""The hooks of connections whose type bears its former name: `_` stands in it, of which Airflow warns at each look."""

from __future__ import annotations

from typing import ClassVar

from ml_event_provider.hooks.dingtalk import DingTalkHook
from ml_event_provider.hooks.ml_events import MlEventHook
from ml_event_provider.hooks.mlflow import MLflowHook
from ml_event_provider.hooks.webhook import WebhookHook


class FormerMlEventHook(MlEventHook):
    """As :class:`MlEventHook`."""

    conn_type = "ml_events"
    hook_name = "ML Events (former name)"


class FormerWebhookHook(WebhookHook):
    """As :class:`WebhookHook`."""

    conn_type: ClassVar[str] = "ml_events_webhook"
    hook_name: ClassVar[str] = "ML Events: Webhook (former name)"


class FormerDingTalkHook(DingTalkHook):
    """As :class:`DingTalkHook`."""

    conn_type: ClassVar[str] = "ml_events_dingtalk"
    hook_name: ClassVar[str] = "ML Events: DingTalk robot (former name)"


class FormerMLflowHook(MLflowHook):
    """As :class:`MLflowHook`."""

    conn_type = "ml_events_mlflow"
    hook_name = "ML Events: MLflow registry (former name)"
