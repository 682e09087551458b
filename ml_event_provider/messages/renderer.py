"""Renders an event for a channel: finds the template, runs it in the sandbox, falls back, shortens."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.messages.about import About
from ml_event_provider.messages.appearance import appearance
from ml_event_provider.messages.blocks import problem, run, validated
from ml_event_provider.messages.dialects import DIALECTS
from ml_event_provider.messages.limits import Budget, spending
from ml_event_provider.messages.lookup import BUILT_IN, Folders, candidates, named
from ml_event_provider.messages.plain import clean, cut, size
from ml_event_provider.messages.sandbox import Sandbox
from ml_event_provider.messages.shortening import shorten, shorten_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ml_event_provider.events.model import Event

log = logging.getLogger(__name__)

MAX_OUTPUT_BYTES = 512 * 1024
#: The longest title that a JSON template gets.
MAX_TITLE_BYTES = 1000
_GAPS = re.compile(r"\n(?:[ \t]*\n){2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A message: ``title`` is one line of plain text, ``body`` in the dialect, ``parts`` are further blocks.

    ``parts`` holds ``html`` for e-mail, and ``json`` for a webhook whose template has such a block.
    ``template`` is the file that was used; ``problems`` say what was wrong with it, or with one that could
    not be used.
    """

    title: str
    body: str
    parts: dict[str, str] = field(default_factory=dict)
    template: str = ""
    problems: tuple[str, ...] = ()


class Renderer:
    """Renders events by the templates in ``directories`` (the first wins), then by the built-in ones.

    One template may take ``seconds`` and write ``max_output_bytes``. Safe to use from several threads.
    """

    def __init__(
        self,
        directories: Sequence[Path] = (),
        *,
        seconds: float = 2.0,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folders = Folders(directories, clock)
        self.seconds = seconds
        self.clock = clock
        self._sandboxes = {
            name: Sandbox(dialect, self.folders, max_output_bytes=max_output_bytes)
            for name, dialect in DIALECTS.items()
        }
        # Without trimming, so that lines of the result are lines of the template.
        raw = Sandbox(DIALECTS["json"], self.folders, max_output_bytes=max_output_bytes, trim=False)
        self._from_text = lru_cache(maxsize=256)(raw.from_string)

    def render(
        self,
        event: Event,
        *,
        channel: str,
        dialect: str,
        max_title_bytes: int,
        max_body_bytes: int,
        rule: str = "",
        severity: str = "info",
        template: str | None = None,
        options: Mapping[str, Any] | None = None,
        about: About | None = None,
    ) -> Rendered:
        """The message about ``event`` for ``channel``, within the limits (bytes of UTF-8).

        ``template`` names a file to be preferred to the event type's own. A template that cannot be used is
        replaced by the built-in one, and the message says so: a broken template is no error.
        """
        values = _values(event, channel, rule, severity, options, about)
        # E-mail and webhooks carry a plain text beside their own format.
        language = "text" if dialect in ("html", "json") or dialect not in DIALECTS else dialect
        problems: list[str] = []
        used, blocks = "", _without_template(event, language)
        for name in self._preferred(event, channel, dialect, template, problems):
            try:
                used, blocks = name, self._complete(name, event, language, dialect, channel, values, problems)
                break
            except TemplateProblem as failure:
                problems.append(str(failure))
        body = _GAPS.sub("\n\n", clean(blocks.pop("body", ""))).strip("\n").rstrip()
        title = shorten_line(blocks.pop("title", ""), max_title_bytes)
        parts = {name: clean(text).strip() for name, text in blocks.items()}
        unused = next((text for text in problems if " was not used: " in text), None)
        if unused:
            body = _with_line(body, language, unused, max_body_bytes)
        if "html" in parts:
            html = _with_row(parts["html"], unused) if unused else parts["html"]
            parts["html"] = shorten(html, max_body_bytes, "html")
        return Rendered(
            title=title or shorten_line(event.type, max_title_bytes),
            body=shorten(body, max_body_bytes, language),
            parts=parts,
            template=used.removeprefix(BUILT_IN),
            problems=tuple(dict.fromkeys(problems)),
        )

    def render_json(
        self,
        source: str,
        event: Event,
        *,
        channel: str = "webhook",
        rule: str = "",
        severity: str = "info",
        options: Mapping[str, Any] | None = None,
        about: About | None = None,
        **more: Any,
    ) -> str:
        """A user's JSON template, ``source``, filled with the event; ``more`` are further variables.

        ``title`` and ``body`` are the usual message's, unless ``more`` has them.
        ``{{ … }}`` is escaped for the inside of a JSON string; ``{{ … | tojson }}`` writes a whole value.

        :raises TemplateProblem: if the template fails or its result is not JSON; names the line.
        """
        values = {**more, **_values(event, channel, rule, severity, options, about)}
        if not more.keys() >= {"title", "body"}:
            usual = self.render(
                event,
                channel=channel,
                dialect="json",
                max_title_bytes=MAX_TITLE_BYTES,
                max_body_bytes=MAX_OUTPUT_BYTES,
                rule=rule,
                severity=severity,
                options=options,
                about=about,
            )
            values = {"title": usual.title, "body": usual.body, **values}
        with spending(Budget(self.seconds, self.clock)) as budget:
            try:
                template = self._from_text(source)
                text = template.environment.concat(template.root_render_func(template.new_context(values)))
            except Exception as error:
                raise problem("JSON template", error) from error
        for missing in budget.missing:
            log.warning("A JSON template uses %r, which event %s of type %s has not", missing, event.id, event.type)
        return validated(text, "JSON template")

    def check(self, name: str) -> None:
        """Compile a template file of the user's folders or a built-in one.

        :raises TemplateProblem: if it does not exist or has an error; names the line.
        """
        try:
            self._sandboxes["text"].get_template(name)
        except Exception as error:
            raise problem(f"template {name!r}", error) from error

    def _preferred(
        self, event: Event, channel: str, dialect: str, template: str | None, problems: list[str]
    ) -> Iterator[str]:
        """The template to use, then the built-in ones to fall back to."""
        found = candidates(event.type, channel, dialect)
        wanted = self._first(named(template, channel, dialect)) if template else None
        if template and not wanted:
            problems.append(f"template {template!r} was not used: no template folder has it")
        own = wanted or self._first(found)
        if own and not self.folders.is_built_in(own):
            yield own
        elif wanted:
            yield BUILT_IN + wanted.removeprefix(BUILT_IN)
        yield from dict.fromkeys((self._built_in(found), f"{BUILT_IN}default.j2"))

    def _first(self, names: Iterable[str]) -> str | None:
        return next((name for name in names if self.folders.path(name)), None)

    def _built_in(self, names: Iterable[str]) -> str:
        return self._first(BUILT_IN + name for name in names) or f"{BUILT_IN}default.j2"

    def _complete(
        self,
        name: str,
        event: Event,
        language: str,
        dialect: str,
        channel: str,
        values: dict[str, Any],
        problems: list[str],
    ) -> dict[str, str]:
        """The template's blocks; a title or body that it does not have is the built-in template's."""
        blocks = self._blocks(name, language, dialect, values, problems)
        if blocks.keys() >= {"title", "body"}:
            return blocks
        built_in = self._built_in(candidates(event.type, channel, dialect))
        other = self._blocks(built_in, language, dialect, values, [])
        if "body" in blocks:
            # HTML of another body would say something else.
            other.pop("html", None)
        return other | blocks

    def _blocks(
        self, name: str, language: str, dialect: str, values: dict[str, Any], problems: list[str]
    ) -> dict[str, str]:
        """The title as plain text, the body in ``language``, and the block that is named like the dialect."""
        wanted: dict[str, tuple[str, ...]] = {"text": ("title",)}
        wanted[language] = (*wanted.get(language, ()), "body")
        if dialect in ("html", "json"):
            wanted[dialect] = (dialect,)
        blocks: dict[str, str] = {}
        with spending(Budget(self.seconds, self.clock, self.folders.is_built_in(name))) as budget:
            try:
                for sandbox, parts in wanted.items():
                    blocks |= run(self._sandboxes[sandbox].get_template(name), values, parts)
            except Exception as error:
                raise problem(f"template {name!r}", error) from error
        if "json" in blocks:
            validated(blocks["json"], f"template {name!r}")
        problems.extend(f"template {name!r}: the event has no {missing!r}" for missing in budget.missing)
        return blocks


def _values(
    event: Event, channel: str, rule: str, severity: str, options: Mapping[str, Any] | None, about: About | None
) -> dict[str, Any]:
    """The variables of a template."""
    about = about or About()
    icon, tone = about.appearance(*appearance(event, severity))
    return {
        "event": event,
        "data": event.data,
        "rule": rule,
        "severity": severity,
        "channel": channel,
        "options": options or {},
        "icon": icon,
        "tone": tone,
        "state": event.type.rsplit(".", 1)[-1],
        "alert": about,
    }


def _with_line(body: str, language: str, unused: str, max_body_bytes: int) -> str:
    """``body``, shortened to make room for a line that says that another template was to be used."""
    line = DIALECTS[language].note("⚠️ " + cut(unused, 300)).strip("\n")
    room = max_body_bytes - size(line) - 2
    return f"{shorten(body, room, language)}\n\n{line}" if room > size(line) else body


def _with_row(html: str, unused: str) -> str:
    note = DIALECTS["html"].note("⚠️ " + cut(unused, 300))
    before, end, after = html.partition("</h1>")
    return before + end + note + after if end else note + html


def _without_template(event: Event, language: str) -> dict[str, str]:
    """Title and body for when not even a built-in template can be used."""
    facts = DIALECTS[language].facts((("Type", event.type), ("Subject", event.subject), ("Time", event.time)))
    return {"title": f"{event.type} {event.subject}", "body": facts}
