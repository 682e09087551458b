"""Cuts texts that a remote would refuse for their size, between words and never within a character."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ELLIPSIS: Final = "…"
#: A space is looked for in so much of the end of a cut text, in characters.
_REACH = 80
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")


def fitted(text: str, fits: Callable[[str], bool]) -> str:
    """``text``, or the longest beginning of it, with an ellipsis, for which ``fits`` is true.

    ``fits`` must be true for the ellipsis alone, and for every beginning of a text for which it is true.
    """
    if fits(text):
        return text
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(text[:middle] + ELLIPSIS):
            low = middle
        else:
            high = middle
    return text[: _safe(text, low)].rstrip() + ELLIPSIS


def pieces(text: str, limit: int) -> list[str]:
    """``text`` in pieces of at most ``limit`` characters, cut between lines or words where there are some."""
    found = []
    text = text.strip()
    while len(text) > limit:
        end = text.rfind("\n", limit // 2, limit)
        end = end if end > 0 else _safe(text, limit) or limit
        found.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*found, text] if text else found


def _safe(text: str, end: int) -> int:
    """The last good place for a cut up to ``end``: after a space, else not within a composed character."""
    space = max(text.rfind(" ", max(end - _REACH, 1), end), text.rfind("\n", max(end - _REACH, 1), end))
    if space > 0:
        return space
    place = end
    while place > 0 and (_continues(text[place : place + 1]) or text[place - 1] == "\u200d"):
        place -= 1
    return place if end - place < _REACH else end


def _continues(character: str) -> bool:
    return bool(character) and (character in _JOINERS or unicodedata.combining(character) > 0)
