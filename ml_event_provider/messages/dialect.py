"""What a dialect can say, as plain text and as the inside of JSON strings.

A template calls a dialect's functions (``{{ bold(data.dag_id) }}``), so that one template serves all
channels. What they return is :class:`Written`; every other text is data and is escaped when it is put into
the message.
"""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import Undefined

from ml_event_provider.messages.links import web_address
from ml_event_provider.messages.plain import ABSENT, clean, inline, one_line, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


#: Texts up to this many characters are remembered in their written form.
_SHORT = 120


class Written(str):
    """Text that is in the dialect already."""

    __slots__ = ()


class Dialect:
    """Plain text, and the base of the others. Each function takes data or what another function returned."""

    name: ClassVar[str] = "text"
    #: The functions that templates may call.
    functions: ClassVar[tuple[str, ...]] = (
        "bold",
        "code",
        "link",
        "headline",
        "para",
        "prose",
        "note",
        "small",
        "block",
        "bullets",
        "facts",
        "links",
    )
    line_break: ClassVar[str] = "\n"

    def globals(self) -> dict[str, Callable[..., Written]]:
        """The functions by name, for a template's globals."""
        return {name: getattr(self, name) for name in self.functions}

    def escape(self, text: str) -> str:
        """``text``, one line of data, such that it cannot be markup."""
        return text

    def inline(self, value: Any) -> Written:
        """Any value on one line; a missing one is a dash."""
        if isinstance(value, Written):
            return value
        if value is None or isinstance(value, Undefined):
            return Written(ABSENT)
        text = text_of(value)
        return self._short(text) if len(text) <= _SHORT else self._line(text)

    def _line(self, text: str) -> Written:
        return Written(self.escape(inline(text)))

    @cached_property
    def _short(self) -> Callable[[str], Written]:
        """:meth:`_line` of labels, names and words, of which most come again in the next message."""
        return lru_cache(maxsize=2048)(self._line)

    def bold(self, value: Any) -> Written:
        """Bold text."""
        return self.inline(value)

    def _word(self, value: Any) -> str:
        """Like :meth:`inline`, without spaces at the ends, which marks must not touch."""
        return self.inline(value).strip()

    def code(self, value: Any) -> Written:
        """A name or value in code letters, where the dialect has them."""
        return self.inline(value)

    def link(self, text: Any, url: Any) -> Written:
        """A link; only the text if ``url`` is no http(s) address."""
        address = self.address(url)
        return Written(f"{self.inline(text)}: {address}") if address else self.inline(text)

    def headline(self, title: Any, tone: str = "info") -> Written:
        """The title (or the block that writes it) above the body, where the channel shows it nowhere else."""
        return Written("")

    def _title(self, title: Any) -> str:
        return one_line(self.inline(title() if callable(title) else title))

    def para(self, *values: Any) -> Written:
        """A paragraph of the values, one after the other."""
        return Written("\n" + "".join(self.inline(value) for value in values) + "\n\n")

    def prose(self, text: Any) -> Written:
        """Text of several lines."""
        lines = clean(text_of(text)).strip().split("\n")
        return self.para(Written(self.line_break.join(self.inline(line) for line in lines)))

    def note(self, *values: Any) -> Written:
        """A paragraph that stands back, or gives advice."""
        return self.para(*values)

    def small(self, *values: Any) -> Written:
        """A last paragraph that need not be read."""
        return self.para(*values)

    def block(self, text: Any) -> Written:
        """Code or output of several lines."""
        return Written("\n" + "\n".join("    " + self.escape(line) for line in code_lines(text)) + "\n\n")

    def bullets(self, values: Iterable[Any]) -> Written:
        """A list."""
        return Written("\n" + "".join(f"- {self.inline(value)}\n" for value in values) + "\n")

    def facts(self, pairs: Iterable[Sequence[Any]]) -> Written:
        """Lines of label and value; pairs without a value are left out."""
        return Written("\n" + "".join(self.fact(*pair) for pair in present(pairs)) + "\n")

    def fact(self, label: Any, value: Any) -> str:
        """One line of :meth:`facts`."""
        return f"{self.inline(label)}: {self.inline(value)}\n"

    def links(self, pairs: Iterable[Sequence[Any]]) -> Written:
        """Links beside each other; pairs without an http(s) address are left out."""
        written = [self.link(*pair) for pair in pairs if self.address(pair[1])]
        return Written("\n" + self.between_links.join(written) + "\n\n") if written else Written("")

    between_links: ClassVar[str] = "\n"

    def address(self, url: Any) -> str:
        """``url`` as it may stand in a link, or nothing if it is no http(s) address."""
        text = web_address(clean(text_of(url)).strip())
        return self.quote(text) if text else ""

    def quote(self, url: str) -> str:
        """An address without the characters that would end the link."""
        return url


class Json(Dialect):
    """The inside of JSON strings, for bodies of webhooks that users write."""

    name = "json"

    def inline(self, value: Any) -> Written:
        """Any value as it may stand between two quotation marks, or alone if it is a number or a boolean."""
        if isinstance(value, Written):
            return value
        if isinstance(value, float):
            return Written(json.dumps(value)) if value == value and abs(value) != float("inf") else Written("null")
        return Written(self.escape(clean(text_of(value))))

    def escape(self, text: str) -> str:
        """JSON's escapes, without the quotation marks around."""
        return json.dumps(text, ensure_ascii=False)[1:-1]


def code_lines(text: Any) -> list[str]:
    """The lines of code or output, without empty ones at its ends."""
    return clean(text_of(text)).expandtabs(4).strip("\n").split("\n")


def present(pairs: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """The pairs that have a value: neither missing nor empty."""
    return [
        pair
        for pair in pairs
        if not isinstance(pair[1], Undefined) and pair[1] is not None and pair[1] not in ("", [], {}, ())
    ]
