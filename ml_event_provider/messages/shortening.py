"""Cuts a message at a safe point: never in a tag, entity, link, escape or fence, or within a character."""

from __future__ import annotations

import re

from ml_event_provider.messages.plain import SHORTENED, first_bytes, one_line, size

#: What must stay whole, by dialect; all the rest is text.
_WHOLE = {
    "text": re.compile(r"(?!)"),
    "markdown": re.compile(
        r"!?\[(?:\\.|[^\[\]\\\n])*\]\([^()\s]*\)|\\.|&#?\w{1,31};|```[^\n`]*\n?"
        r"|(?:\*+|~+|`+)(?=[^\s*~`])|(?<=[^\s*~`])(?:\*+|~+|`+)|(?<![^\W_])_+|_+(?![^\W_])"
    ),
    "mrkdwn": re.compile(r"<[^<>\n]*>|&(?:amp|lt|gt);|```\n?|[*~`](?=\S)|(?<=\S)[*~`]|(?<![^\W_])_|_(?![^\W_])"),
    "html": re.compile(
        r"<!--.*?-->|<(style|script|title)\b.*?</\1\s*>|<!?/?[a-zA-Z](?:[^<>\"']|\"[^\"]*\"|'[^']*')*>|&#?\w{1,31};",
        re.DOTALL | re.IGNORECASE,
    ),
}
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)(?:[^>]|>(?=.))*?(/?)>\Z", re.DOTALL)
#: HTML elements without an end, and those in which text may not stand.
_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))
_NO_TEXT = frozenset(("table", "thead", "tbody", "tfoot", "tr", "ul", "ol", "dl", "html", "head"))
#: Room for the marks and the fence that are closed again.
_CLOSERS = 12


def shorten_line(text: str, limit: int) -> str:
    """``text`` on one line and within ``limit`` bytes of UTF-8."""
    text = one_line(text)
    if size(text) <= limit:
        return text
    mark = SHORTENED if limit >= 4 * size(SHORTENED) else "…"
    room = limit - size(mark)
    return first_bytes(text, room).rstrip() + mark if room >= 0 else first_bytes(text, limit)


def shorten(text: str, limit: int, dialect: str) -> str:
    """``text`` within ``limit`` bytes of UTF-8; if it was cut, with a mark, and what was open is closed.

    Of a limit too small for this, only the mark is left, or its beginning.
    """
    if size(text) <= limit:
        return text
    if dialect == "html":
        return _shorten_html(text, limit)
    room = limit - size("\n\n" + SHORTENED) - _CLOSERS
    if room <= 0:
        return first_bytes(SHORTENED, limit)
    start = _start(text, room, _WHOLE.get(dialect, _WHOLE["text"]))
    return f"{start}\n\n{SHORTENED}" if start else SHORTENED


def _start(text: str, room: int, whole: re.Pattern[str]) -> str:
    """The start of ``text`` within ``room`` bytes, plus what closes the marks that are open there."""
    position = used = 0
    fence = False
    #: Marks that are open, and where each ends.
    opened: list[tuple[str, int]] = []
    for match in (*whole.finditer(text), None):
        piece = text[position : match.start() if match else len(text)]
        kept = first_bytes(piece, room - used)
        if len(kept) < len(piece):
            kept = kept[: _word_end(kept)]
        if "\n" in kept and not fence:
            # Marks do not reach over lines: one that is still open is only a character.
            opened.clear()
        position += len(kept)
        used += size(kept)
        if len(kept) < len(piece) or match is None or used + size(match[0]) > room:
            break
        position = match.end()
        used += size(match[0])
        if match[0].startswith("```"):
            fence = not fence
            opened.clear()
        elif match[0][0] in "*_~`" and not fence:
            names = [name for name, _ in opened]
            if match[0] in names:
                del opened[names.index(match[0]) :]
            else:
                opened.append((match[0], position))
    start = text[:position]
    while opened and opened[-1][1] == len(start):
        start = start[: -len(opened.pop()[0])]
    start = start.rstrip()
    if fence:
        return start + "\n```"
    return start + "".join(name for name, _ in reversed(opened))


def _word_end(text: str) -> int:
    """The end of the last line or word, if it is near the end of ``text``."""
    for mark, reach in (("\n", 100), (" ", 30)):
        found = text.rfind(mark, max(0, len(text) - reach))
        if found > 0:
            return found
    return len(text)


def _shorten_html(text: str, limit: int) -> str:
    """The start of ``text``, with its open elements closed."""
    room = limit - size(SHORTENED)
    kept: list[str] = []
    opened: list[str] = []
    position = used = 0
    for match in (*_WHOLE["html"].finditer(text), None):
        piece = text[position : match.start() if match else len(text)]
        start = first_bytes(piece, room - used)
        kept.append(start)
        used += size(start)
        if len(start) < len(piece) or match is None:
            break
        # What an element needs for its end counts from its beginning on.
        cost = size(match[0])
        tag = None if match[1] else _TAG.match(match[0])
        name = tag[2].lower() if tag else ""
        if tag and not tag[1] and not tag[3] and name not in _VOID:
            cost += len(name) + 3
            if used + cost > room:
                break
            opened.append(name)
        elif tag and tag[1] and name in opened:
            # The end was paid for; elements left open inside it end with it.
            inner = len(opened) - 1 - opened[::-1].index(name)
            cost = size(match[0]) - sum(len(closed) + 3 for closed in opened[inner:])
            del opened[inner:]
        if used + cost > room:
            break
        kept.append(match[0])
        used += cost
        position = match.end()
    if not "".join(kept).strip():
        return first_bytes(SHORTENED, limit)
    closers = [f"</{name}>" for name in reversed(opened)]
    outside = 0
    while outside < len(opened) and opened[-1 - outside] in _NO_TEXT:
        outside += 1
    return "".join((*kept, *closers[:outside], SHORTENED, *closers[outside:]))
