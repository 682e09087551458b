"""The hook of connections of type ``mleventsdingtalk``."""

from __future__ import annotations

from typing import ClassVar

from ml_event_provider.hooks.target import TargetHook


class DingTalkHook(TargetHook):
    """Sends to a DingTalk custom robot; see :mod:`ml_event_provider.targets.dingtalk`."""

    default_conn_name: ClassVar[str] = "ml_events_dingtalk_default"
    conn_type: ClassVar[str] = "mleventsdingtalk"
    hook_name: ClassVar[str] = "ML Events: DingTalk robot"
