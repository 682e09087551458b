"""The sign and the colour of an event, by what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml_event_provider.events.model import Event

#: Sign and tone (a key of ``dialects.TONES``) of a type's last part.
BY_STATE = {
    "success": ("✅", "good"),
    "approved": ("✅", "good"),
    "failed": ("❌", "bad"),
    "rejected": ("🚫", "bad"),
    "import_error": ("❌", "bad"),
    "missed": ("⏰", "bad"),
    "up_for_retry": ("🔁", "warn"),
    "upstream_failed": ("⛔", "warn"),
    "drift_detected": ("📉", "warn"),
    "pending": ("⏳", "info"),
    "running": ("▶️", "info"),
    "skipped": ("⏭️", "quiet"),
    "removed": ("🗑️", "quiet"),
    "created": ("📦", "info"),
    "updated": ("📦", "info"),
    "metric_logged": ("📈", "info"),
    "absent": ("🕳️", "warn"),
    "requested": ("🔔", "info"),
}
BY_SEVERITY = {"critical": ("🚨", "bad"), "error": ("❌", "bad"), "warning": ("⚠️", "warn")}
#: A type's last part that says less than a field of its data.
BY_FIELD = {"approval_changed": "status"}


def appearance(event: Event, severity: str) -> tuple[str, str]:
    """Sign and tone: of a critical event its severity's, else its state's, else its severity's."""
    state = event.type.rsplit(".", 1)[-1]
    if state in BY_FIELD:
        state = str(event.data.get(BY_FIELD[state], "")).lower()
    severity = severity.lower()
    if severity == "critical" or (state == "requested" and severity in BY_SEVERITY):
        return BY_SEVERITY[severity]
    return BY_STATE.get(state) or BY_SEVERITY.get(severity) or ("🔔", "info")
