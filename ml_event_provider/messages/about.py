"""What a notification says of its rule's alert, beside the event: that it lasts, is over, or is one of many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml_event_provider.events.model import Event

#: Sign, tone and word of each kind of notification but the first, which are the event's own.
_KINDS: Final = {
    "resolved": ("✅", "good", "Resolved"),
    "repeated": ("🔂", "", "Still"),
    "escalated": ("🚨", "bad", "Escalated"),
    "flapping": ("〰️", "warn", "Flapping"),
}
#: Facts that are for machines.
_UNSAID: Final = frozenset({"members", "group", "late"})


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """``kind`` is fired, repeated, resolved, escalated or flapping; ``members`` counts the firings that the
    notification tells of, and ``others`` are the newest of their events, but the one that it is rendered from."""

    kind: str = "fired"
    id: str = ""
    members: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Event, ...] = ()

    @property
    def ordinary(self) -> bool:
        """Whether there is nothing to say but the event itself."""
        return self.kind == "fired" and self.members == 1 and not self.id and not self.facts

    def appearance(self, icon: str, tone: str) -> tuple[str, str]:
        """The sign with which titles begin, and the tone, from those of the event."""
        sign, own, word = _KINDS.get(self.kind, (icon, tone, ""))
        words = [f"{word}:"] if word else []
        if self.members > 1:
            words.append(f"{self.members} \N{MULTIPLICATION SIGN}")
        return " ".join([sign, *words]), own or tone

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The facts as pairs of words."""
        return [
            (name.replace("_", " ").capitalize(), _said(value))
            for name, value in self.facts.items()
            if name not in _UNSAID and value is not None
        ]

    @property
    def unnamed(self) -> int:
        """How many firings there are beside the newest events."""
        return max(0, self.members - 1 - len(self.others))

    @property
    def _alerts(self) -> list[str]:
        """The ids of all alerts that it tells of, of very many the newest."""
        members = self.facts.get("members") or ()
        found = [one[3] for one in members if len(one) > 3 and one[3]]
        return list(dict.fromkeys(found)) or [self.id] * bool(self.id)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for receivers that are programs."""
        return {
            "kind": self.kind,
            "alert": self.id,
            "members": self.members,
            "alerts": self._alerts,
            "facts": {name: value for name, value in self.facts.items() if name not in _UNSAID},
            "others": [
                {"id": one.id, "source": one.source, "type": one.type, "subject": one.subject} for one in self.others
            ],
        }


def _said(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
