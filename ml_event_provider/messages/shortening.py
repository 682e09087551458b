"""Cuts a message at a safe point: never in a tag, entity, link, escape or fence, or within a character."""

from __future__ import annotations

import re

from ml_event_provider.messages.plain import SHORTENED, boundary, first_bytes, one_line, size

#: What must stay whole, for each dialect; the rest is text.
_WHOLE = {
    "text": re.compile(r"(?!)"),
    "markdown": re.compile(
        r"!?\[(?:\\.|[^\[\]\\\n])*\]\([^()\s]*\)|\\.|&#?\w{1,31};|```[^\n`]*\n?|\*\*|__|~~|[*_`]"
    ),
    "mrkdwn": re.compile(r"<[^<>\n]*>|&(?:amp|lt|gt);|```\n?|[*_~`]"),
    "html": re.compile(
        r"<!--.*?-->|<(style|script|title)\b.*?</\1\s*>|</?[a-zA-Z](?:[^<>\"']|\"[^\"]*\"|'[^']*')*>|<![^>]*>|&#?\w{1,31};",
        re.DOTALL | re.IGNORECASE,
    ),
}
#: HTML elements without an end.
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
#: HTML elements in which text may not stand.
_NO_TEXT = frozenset("table thead tbody tfoot tr ul ol dl html head".split())
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
_MARKS = frozenset({"**", "__", "~~", "*", "_", "~", "`"})


def shorten_line(text: str, limit: int) -> str:
    """``text`` on one line and within ``limit`` bytes of UTF-8."""
    text = one_line(text)
    if size(text) <= limit:
        return text
    return _with_mark(text, limit, SHORTENED if limit >= 4 * size(SHORTENED) else "…")


def shorten(text: str, limit: int, dialect: str) -> str:
    """``text`` within ``limit`` bytes of UTF-8; if it was cut, with a mark, and what was open is closed again.

    A limit too small for the mark gives the start of the text, or nothing where that could break the dialect.
    """
    if size(text) <= limit:
        return text
    if dialect == "html":
        return _shorten_html(text, limit)
    whole = _WHOLE.get(dialect, _WHOLE["text"])
    if limit < 2 * size(SHORTENED):
        return first_bytes(SHORTENED, limit)
    room = limit - size("\n" + SHORTENED)
    if whole is _WHOLE["text"]:
        return _tidy(text[: _nice(text, len(first_bytes(text, room)))]) + "\n" + SHORTENED
    return _shorten_marked(text, room, whole) + "\n" + SHORTENED


def _with_mark(text: str, limit: int, mark: str) -> str:
    room = limit - size(mark)
    return first_bytes(text, room).rstrip() + mark if room >= 0 else first_bytes(text, limit)


def _tidy(text: str) -> str:
    return text.rstrip()


def _nice(text: str, end: int) -> int:
    """The end of a line or a word shortly before ``end``, else ``end``."""
    for mark, reach in (("\n", 200), (" ", 30)):
        found = text.rfind(mark, max(0, end - reach), end)
        if found > end // 2:
            return found
    return boundary(text, end)


def _shorten_marked(text: str, room: int, whole: re.Pattern[str]) -> str:
    """The start of ``text`` up to the last safe point within ``room`` bytes, closers included."""
    used, position = 0, 0
    fence = False
    open_marks: list[str] = []
    best = 0
    best_fence = False
    for match in (*whole.finditer(text), None):
        end = match.start() if match else len(text)
        # Between two whole pieces every visible character is a safe point, if nothing but a fence is open.
        piece = text[position:end]
        if fence or not open_marks:
            inner = first_bytes(piece, room - used - (4 if fence else 0))
            if inner or not piece:
                best, best_fence = position + len(inner), fence
        if "\n" in piece and not fence:
            # No mark reaches over a line's end: one that is still open is only a character.
            open_marks.clear()
            last = piece.rfind("\n") + 1
            inner = first_bytes(piece[last:], room - used - size(piece[:last]))
            if used + size(piece[:last]) <= room:
                best, best_fence = position + last + len(inner), fence
        used += size(piece)
        if match is None or used + size(match[0]) > room:
            break
        used += size(match[0])
        position = match.end()
        if match[0].startswith("```"):
            fence = not fence
            open_marks.clear()
        elif not fence and match[0] in _MARKS:
            if open_marks and match[0] in open_marks:
                del open_marks[open_marks.index(match[0]) :]
            else:
                open_marks.append(match[0])
        if not open_marks and not fence:
            best, best_fence = position, False
    nice = best if text[best : best + 1] in ("", "\n") else _line_end(text, best)
    start = text[:nice].rstrip()
    return start + "\n```" if best_fence and start.count("```") % 2 else start


def _line_end(text: str, end: int) -> int:
    """The end of the line before, if it is near: half a line says little."""
    found = text.rfind("\n", max(0, end - 120), end)
    return found if found > end // 2 else end


def _shorten_html(text: str, limit: int) -> str:
    """The start of ``text`` with its open elements closed."""
    kept: list[str] = []
    stack: list[str] = []
    used = closers = 0
    mark = size(SHORTENED)
    position = 0
    # The last state to which the text can be cut back: so many pieces, these elements open.
    safe: tuple[int, tuple[str, ...]] = (0, ())
    for match in (*_WHOLE["html"].finditer(text), None):
        piece = text[position : match.start() if match else len(text)]
        if piece:
            inner = first_bytes(piece, limit - used - closers - mark)
            if inner:
                kept.append(inner)
                used += size(inner)
                safe = (len(kept), tuple(stack))
            if len(inner) < len(piece):
                break
        if match is None:
            break
        position = match.end()
        tag = _TAG.match(match[0])
        name = tag[2].lower() if tag else ""
        opens = (
            bool(tag) and not match[1] and not tag[1] and name not in _VOID and not match[0].endswith("/>")
        )  # type: ignore[index]
        if used + size(match[0]) + closers + (len(name) + 3 if opens else 0) + mark > limit:
            break
        kept.append(match[0])
        used += size(match[0])
        if opens:
            stack.append(name)
            closers += len(name) + 3
        elif tag and tag[1] and name in stack:
            while stack:
                closed = stack.pop()
                closers -= len(closed) + 3
                if closed == name:
                    break
        safe = (len(kept), tuple(stack))
    count, opened = safe
    if not count:
        return first_bytes(SHORTENED, limit)
    ends = list(reversed(opened))
    inside = []
    while ends and ends[0] in _NO_TEXT:
        inside.append(ends.pop(0))
    close = "".join(f"</{name}>" for name in inside)
    return "".join(kept[:count]) + close + SHORTENED + "".join(f"</{name}>" for name in ends)
