"""The dialects of chats: DingTalk's Markdown and Slack's mrkdwn."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from ml_event_provider.messages.dialect import Dialect, Written, code_lines
from ml_event_provider.messages.plain import one_line, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_MENTION = re.compile(r"(?<!\w)@(?=\w)")
#: An invisible character that takes no room and allows no line break.
_JOINER = "\u2060"
#: Looks like a backtick.
_TICK = "\u02cb"
_INDENT = re.compile(r"\A +")
_MARKDOWN = re.compile(r"[\\*`\[\]~|]")
#: Underscores that do not stand inside a word, where alone they could be markup.
_EDGE = re.compile(r"(?<![^\W_])(?<!_)_+|_+(?![^\W])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
#: What would begin a heading, quote, list or rule at the start of a line.
_MARKDOWN_START = re.compile(r"\A(\s*|\d{1,9})(#|>|[-+](?=\s|\Z)|[-=](?=[-=\s]*\Z)|(?<=\d)[.)](?=\s|\Z))")
_MRKDWN_MARKS = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "\u02cb"})


class Markdown(Dialect):
    """The part of Markdown that DingTalk shows: headings, bold, links, quotes, lists; no tables or fences.

    Lines break only where they end with two spaces.
    """

    name = "markdown"
    line_break = "  \n"
    between_links = " · "

    def escape(self, text: str) -> str:
        """CommonMark's backslash escapes; underscores inside words are no markup and stay as they are."""
        text = _MARKDOWN.sub(r"\\\g<0>", text)
        text = _EDGE.sub(lambda match: "\\_" * len(match[0]), text)
        text = _ENTITY.sub("&amp;", text).replace("<", "&lt;")
        text = _MARKDOWN_START.sub(lambda match: match[1] + "\\" + match[2], text)
        return _MENTION.sub("@" + _JOINER, text)

    def quote(self, url: str) -> str:
        """Brackets, spaces and backslashes percent-encoded."""
        return re.sub(r"[()<>\[\]\\\"'`*|]", lambda match: f"%{ord(match[0]):02X}", url)

    def bold(self, value: Any) -> Written:
        """``**bold**``."""
        text = self._word(value)
        return Written(f"**{text}**" if text else "")

    def link(self, text: Any, url: Any) -> Written:
        """``[text](url)``."""
        address = self.address(url)
        return Written(f"[{self.inline(text)}]({address})") if address else self.inline(text)

    def headline(self, title: Any, tone: str = "info") -> Written:
        """A heading: DingTalk shows a message's title only in its notification."""
        return Written(f"### {self._title(title)}\n\n")

    def note(self, *values: Any) -> Written:
        """A quote."""
        return Written("\n> " + "".join(self.inline(value) for value in values) + "\n\n")

    def block(self, text: Any) -> Written:
        """A quote, line by line; leading spaces are kept as spaces that do not break."""
        lines = (_INDENT.sub(lambda match: "\u00a0" * len(match[0]), line) for line in code_lines(text))
        return Written("\n" + "  \n".join(f"> {self.escape(line)}" for line in lines) + "\n\n")

    def fact(self, label: Any, value: Any) -> str:
        """``**label:** value``."""
        return f"**{self.inline(label)}:** {self.inline(value)}  \n"


class Mrkdwn(Dialect):
    """Slack's mrkdwn: ``&``, ``<`` and ``>`` are entities (Slack, "Formatting text for app surfaces").

    Slack has no escape for its other marks; where they could be markup, letters that look alike replace them.
    """

    name = "mrkdwn"
    between_links = " · "

    def escape(self, text: str) -> str:
        """Entities for control characters, look-alikes for formatting marks."""
        text = _EDGE.sub(lambda match: "\u02cd" * len(match[0]), text.translate(_MRKDWN_MARKS))
        if text.startswith(">"):
            text = _JOINER + text
        return _MENTION.sub("@" + _JOINER, html.escape(text, quote=False))

    def quote(self, url: str) -> str:
        """Entities, and ``|`` percent-encoded."""
        return html.escape(url.replace("|", "%7C"), quote=False).replace("&gt;", "%3E").replace("&lt;", "%3C")

    def bold(self, value: Any) -> Written:
        """``*bold*``."""
        text = self._word(value)
        return Written(f"*{text}*" if text else "")

    def code(self, value: Any) -> Written:
        """`` `code` ``."""
        text = one_line(text_of(value))
        if isinstance(value, Written) or not text:
            return self.inline(value)
        return Written(f"`{html.escape(text, quote=False).replace('`', _TICK)}`")

    def link(self, text: Any, url: Any) -> Written:
        """``<url|text>``."""
        address = self.address(url)
        words = self.inline(text)
        return Written(f"<{address}|{words.replace('|', '¦')}>") if address else words

    def note(self, *values: Any) -> Written:
        """A quote."""
        return Written("\n> " + "".join(self.inline(value) for value in values) + "\n\n")

    def block(self, text: Any) -> Written:
        """A fence."""
        inner = "\n".join(code_lines(text)).replace("```", "``" + _TICK)
        return Written(f"\n```\n{html.escape(inner, quote=False)}\n```\n\n")

    def bullets(self, values: Iterable[Any]) -> Written:
        """A list of ``•``."""
        return Written("\n" + "".join(f"• {self.inline(value)}\n" for value in values) + "\n")

    def fact(self, label: Any, value: Any) -> str:
        """``*label:* value``."""
        return f"*{self.inline(label)}:* {self.inline(value)}\n"
