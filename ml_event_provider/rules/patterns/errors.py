"""The error that a wrong pattern raises, and what it says."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import InvalidRule

if TYPE_CHECKING:
    from collections.abc import Iterable


class InvalidPattern(InvalidRule):
    """An event pattern cannot be used.

    ``path`` is the field in the pattern (``"data.state"``), ``operator`` the operator at fault or ``""``. The
    message names both, and what is allowed instead.
    """

    def __init__(self, path: str, problem: str, *, operator: str = "") -> None:
        self.path = path
        self.operator = operator
        self.problem = problem
        where = path or "event pattern"
        super().__init__(f"{where}: {operator!r} {problem}" if operator else f"{where}: {problem}")


def shown(value: Any) -> str:
    """``value`` as short JSON, for messages."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'prefix'?"`` if one of ``known`` is near ``name``, else an empty text."""
    names = list(known)
    low = name.lower().replace("_", "-").strip()
    found = [other for other in names if other == low] or get_close_matches(low, names, 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else ""
