"""Renders an event for a channel: finds the template, runs it in the sandbox, falls back, shortens."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ml_event_provider.exceptions import LimitReached, TemplateProblem
from ml_event_provider.messages.blocks import problem, run, validated
from ml_event_provider.messages.demand import Blocks, variables
from ml_event_provider.messages.dialects import DIALECTS
from ml_event_provider.messages.limits import Budget, spending
from ml_event_provider.messages.lookup import BUILT_IN, Folders, candidates, named
from ml_event_provider.messages.memory import COSTLY_SECONDS, LEFT_OUT, Costly
from ml_event_provider.messages.plain import clean
from ml_event_provider.messages.replacement import with_line, with_row, without_template
from ml_event_provider.messages.sandbox import Sandbox
from ml_event_provider.messages.shortening import shorten, shorten_line
from ml_event_provider.messages.variables import values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jinja2 import Template

    from ml_event_provider.events.model import Event
    from ml_event_provider.messages.about import About

log = logging.getLogger(__name__)

#: Processor time for one template, in seconds: a hundred times what the built-in ones take.
SECONDS = 0.1
MAX_OUTPUT_BYTES = 512 * 1024
#: What a message may consist of.
PARTS: Final = frozenset({"title", "body", "html", "json"})
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

    One template may take ``seconds`` of processor time and write ``max_output_bytes``. One that ran into its limits is
    left out for some minutes, or until its file changes, for the workspace whose event it was. Safe to use from several
    threads.

    :param clock: stands in for the system's clocks, of the day and of the thread.
    """

    def __init__(
        self,
        directories: Sequence[Path] = (),
        *,
        seconds: float = SECONDS,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.folders = Folders(directories, clock or time.monotonic)
        self.seconds = seconds
        self._cpu = clock or time.thread_time
        self._costly = Costly(clock or time.monotonic)
        self._sandboxes = {
            name: Sandbox(dialect, self.folders, max_output_bytes=max_output_bytes)
            for name, dialect in DIALECTS.items()
        }
        # Without trimming, so that lines of the result are lines of the template.
        raw = Sandbox(DIALECTS["json"], self.folders, max_output_bytes=max_output_bytes, trim=False)
        self._raw = raw
        self._from_text = lru_cache(maxsize=256)(self._compiled)
        self._has = Blocks(self._sandboxes["text"], self.folders)

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
        parts: frozenset[str] = PARTS,
    ) -> Rendered:
        """The message about ``event`` for ``channel``, within the limits (bytes of UTF-8).

        ``template`` names a file to be preferred to the event type's own. A template that cannot be used is
        replaced by the built-in one, and the message says so: a broken template is no error. Only the wanted
        ``parts`` are made; the others are empty.
        """
        if not parts:
            return Rendered(title="", body="")
        values = values_of(event, channel, rule, severity, options, about)
        # E-mail and webhooks carry a plain text beside their own format.
        language = "text" if dialect in ("html", "json") or dialect not in DIALECTS else dialect
        problems: list[str] = []
        used, blocks = "", without_template(event, language)
        making = _Making(event, language, dialect, channel, values, parts)
        for name in self._preferred(event, channel, dialect, template, problems):
            try:
                used, blocks = name, self._complete(name, making, problems)
                break
            except TemplateProblem as failure:
                problems.append(str(failure))
        body = _GAPS.sub("\n\n", clean(blocks.pop("body", ""))).strip("\n").rstrip()
        title = shorten_line(blocks.pop("title", ""), max_title_bytes)
        if "title" in parts:
            title = title or shorten_line(event.type, max_title_bytes)
        more = {name: clean(text).strip() for name, text in blocks.items()}
        unused = next((text for text in problems if " was not used: " in text), None)
        if unused and "body" in parts:
            body = with_line(body, language, unused, max_body_bytes)
        if "html" in more:
            html = with_row(more["html"], unused) if unused else more["html"]
            more["html"] = shorten(html, max_body_bytes, "html")
        return Rendered(
            title=title,
            body=shorten(body, max_body_bytes, language),
            parts=more,
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
        of: str = "",
        **more: Any,
    ) -> str:
        """A user's JSON template, ``source``, filled with the event; ``more`` are further variables.

        ``title`` and ``body`` are the usual message's, unless ``more`` has them; they are made where it uses them.
        ``{{ … }}`` is escaped for the inside of a JSON string; ``{{ … | tojson }}`` writes a whole value. One that ran
        into its limits is refused at once for some minutes.

        :param of: whose template it is, a connection's id: what ran into its limits there says nothing of elsewhere.
        :raises TemplateProblem: if the template fails or its result is not JSON; names the line.
        """
        key = (of, source)
        if self._costly and (words := self._costly.why(key)):
            raise TemplateProblem(words)
        began = self._cpu()
        values = {**more, **values_of(event, channel, rule, severity, options, about)}
        try:
            template, used = self._from_text(source)
        except Exception as error:
            raise self._failed("JSON template", error, key, began) from error
        if used - more.keys():
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
                parts=used,
            )
            values = {"title": usual.title, "body": usual.body, **values}
        began = self._cpu()
        with spending(Budget(self.seconds, self._cpu)) as budget:
            try:
                text = template.environment.concat(template.root_render_func(template.new_context(values)))
            except Exception as error:
                raise self._failed("JSON template", error, key, began) from error
        for missing in budget.missing:
            log.warning("A JSON template uses %r, which event %s of type %s has not", missing, event.id, event.type)
        return validated(text, "JSON template")

    def _compiled(self, source: str) -> tuple[Template, frozenset[str]]:
        """A template, and which of the usual message's parts it uses."""
        return self._raw.from_string(source), variables(self._raw, source, frozenset({"title", "body"}))

    def _failed(self, what: str, error: Exception, key: Hashable, began: float) -> TemplateProblem:
        """Why a template could not be used; remembered where it cost too much to be tried with each message."""
        found = problem(what, error)
        if isinstance(error, LimitReached) or self._cpu() - began > COSTLY_SECONDS:
            found = TemplateProblem(f"{found}{LEFT_OUT}")
            self._costly.note(key, str(found))
        return found

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

    def _first(self, names: tuple[str, ...]) -> str | None:
        return self.folders.first(names)

    def _built_in(self, names: tuple[str, ...]) -> str:
        return self.folders.first(names, built_in=True) or f"{BUILT_IN}default.j2"

    def _complete(self, name: str, making: _Making, problems: list[str]) -> dict[str, str]:
        """The template's blocks; a title or body that it does not have is the built-in template's."""
        blocks = self._blocks(name, making, problems)
        if blocks.keys() >= {"title", "body"} & making.parts:
            return blocks
        built_in = self._built_in(candidates(making.event.type, making.channel, making.dialect))
        other = self._blocks(built_in, making, [])
        if "body" in blocks:
            # HTML of another body would say something else.
            other.pop("html", None)
        return other | blocks

    def _blocks(self, name: str, making: _Making, problems: list[str]) -> dict[str, str]:
        """The title as plain text, the body in its language, and the block that is named like the dialect."""
        built_in = self.folders.is_built_in(name)
        # Of each workspace: one with huge events leaves the template out for itself alone.
        key = (self.folders.state(name), making.event.workspace)
        if not built_in and self._costly and (words := self._costly.why(key)):
            raise TemplateProblem(words)
        began = self._cpu()
        blocks: dict[str, str] = {}
        with spending(Budget(self.seconds, self._cpu, built_in)) as budget:
            try:
                for sandbox, parts in self._wanted(name, making).items():
                    blocks |= run(self._sandboxes[sandbox].get_template(name), making.values, parts)
            except Exception as error:
                raise self._failed(f"template {name!r}", error, key, began) from error
        if "json" in blocks:
            validated(blocks["json"], f"template {name!r}")
        problems.extend(f"template {name!r}: the event has no {missing!r}" for missing in budget.missing)
        return blocks

    def _wanted(self, name: str, making: _Making) -> dict[str, tuple[str, ...]]:
        """The blocks to be made, by the dialect in which they are."""
        wanted: dict[str, tuple[str, ...]] = {}
        if "title" in making.parts:
            wanted["text"] = ("title",)
        if "body" in making.parts:
            wanted[making.language] = (*wanted.get(making.language, ()), "body")
        own = making.dialect
        if own in making.parts and own in ("html", "json") and (own == "html" or self._has.may_have(name, "json")):
            wanted[own] = (own,)
        return wanted


class _Making(NamedTuple):
    """A message that is being made. ``language`` is the dialect of its body."""

    event: Event
    language: str
    dialect: str
    channel: str
    values: dict[str, Any]
    parts: frozenset[str]
