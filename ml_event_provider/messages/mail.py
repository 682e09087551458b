"""The dialect of e-mails: HTML with inline styles."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from ml_event_provider.messages.dialect import Dialect, Written, code_lines, present

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The monospaced letters of e-mails.
MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace"
#: The colour of each tone.
TONES = {"bad": "#d1393f", "warn": "#c17d11", "good": "#2a9249", "info": "#2f6fdb", "quiet": "#7d8590"}

#: The first button is the one to press.
_FIRST, _FURTHER = "background:#2f6fdb;color:#ffffff", "color:#3b7ddd"


class Html(Dialect):
    """HTML for e-mail: inline styles only, and colours that are readable on light and dark grounds.

    Mail programs that turn colours around for dark mode do so well with tones of the middle.
    """

    name = "html"
    line_break = "<br>\n"
    between_links = " "

    def escape(self, text: str) -> str:
        """The five entities."""
        return html.escape(text)

    def quote(self, url: str) -> str:
        """The five entities."""
        return html.escape(url)

    def bold(self, value: Any) -> Written:
        """``<strong>``."""
        return Written(f"<strong>{self.inline(value)}</strong>")

    def code(self, value: Any) -> Written:
        """``<code>``."""
        return Written(f'<code style="{MONO};font-size:13px">{self.inline(value)}</code>')

    def link(self, text: Any, url: Any) -> Written:
        """``<a>``."""
        address = self.address(url)
        if not address:
            return self.inline(text)
        return Written(f'<a href="{address}" style="color:#3b7ddd">{self.inline(text)}</a>')

    def headline(self, title: Any, tone: str = "info") -> Written:
        """A heading with a bar in the tone's colour."""
        colour = TONES.get(tone, TONES["info"])
        return Written(
            f'<h1 style="margin:0 0 18px;padding:2px 0 2px 14px;border-left:5px solid {colour};'
            f'font-size:19px;line-height:1.35;font-weight:600">{self._title(title)}</h1>\n'
        )

    def para(self, *values: Any) -> Written:
        """``<p>``."""
        inner = "".join(self.inline(value) for value in values)
        return Written(f'<p style="margin:0 0 14px">{inner}</p>\n')

    def note(self, *values: Any) -> Written:
        """A paragraph in grey."""
        inner = "".join(self.inline(value) for value in values)
        return Written(f'<p style="margin:0 0 16px;font-size:14px;opacity:.85">{inner}</p>\n')

    def small(self, *values: Any) -> Written:
        """A paragraph in small grey letters."""
        inner = "".join(self.inline(value) for value in values)
        return Written(f'<p style="margin:18px 0 0;font-size:12px;opacity:.65">{inner}</p>\n')

    def block(self, text: Any) -> Written:
        """``<pre>`` whose long lines wrap."""
        inner = html.escape("\n".join(code_lines(text)))
        return Written(
            f'<pre style="margin:0 0 16px;padding:12px 14px;border-radius:6px;border:1px solid #8c959f55;'
            f"background:#8c959f1f;{MONO};font-size:12.5px;line-height:1.5;white-space:pre-wrap;"
            f'word-break:break-word">{inner}</pre>\n'
        )

    def bullets(self, values: Iterable[Any]) -> Written:
        """``<ul>``."""
        inner = "".join(f'<li style="margin:0 0 4px">{self.inline(value)}</li>\n' for value in values)
        return Written(f'<ul style="margin:0 0 16px;padding-left:22px">\n{inner}</ul>\n')

    def facts(self, pairs: Iterable[Sequence[Any]]) -> Written:
        """A table of two columns."""
        rows = "".join(self.fact(*pair) for pair in present(pairs))
        if not rows:
            return Written("")
        return Written(
            '<table role="presentation" cellpadding="0" cellspacing="0" border="0" '
            f'style="margin:0 0 16px;border-collapse:collapse">\n{rows}</table>\n'
        )

    def fact(self, label: Any, value: Any) -> str:
        """A row."""
        return (
            f'<tr><td style="padding:3px 18px 3px 0;vertical-align:top;white-space:nowrap;opacity:.7">'
            f"{self.inline(label)}</td>"
            f'<td style="padding:3px 0;word-break:break-word">{self.inline(value)}</td></tr>\n'
        )

    def links(self, pairs: Iterable[Sequence[Any]]) -> Written:
        """Buttons."""
        shown = [(text, self.address(url)) for text, url in pairs if self.address(url)]
        buttons = "\n".join(
            f'<a href="{address}" style="display:inline-block;margin:0 8px 8px 0;padding:8px 16px;'
            f"border-radius:6px;border:1px solid #3b7ddd;text-decoration:none;font-weight:600;font-size:14px;"
            f'{_FIRST if number == 0 else _FURTHER}">{self.inline(text)}</a>'
            for number, (text, address) in enumerate(shown)
        )
        return Written(f'<p style="margin:4px 0 8px">\n{buttons}\n</p>\n') if buttons else Written("")
