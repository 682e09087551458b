"""Runs the blocks of one template, and says in which line it failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.messages.plain import cut, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jinja2 import Template
    from jinja2.runtime import Context

#: The blocks that have a meaning; a template may have others of its own inside them.
BLOCKS = ("title", "body", "html", "json")


def run(template: Template, values: dict[str, Any], wanted: Sequence[str]) -> dict[str, str]:
    """The wanted blocks of a template, as far as it has them; one without blocks is all body."""
    context = template.new_context(values)
    join = template.environment.concat
    # The root function collects the blocks of the templates above; silenced, so that each is run only once.
    for name in BLOCKS:
        context.blocks.setdefault(name, []).insert(0, _silent)
    loose = join(template.root_render_func(context))
    for name in BLOCKS:
        context.blocks[name].remove(_silent)
    found = {name: join(context.blocks[name][0](context)) for name in wanted if context.blocks[name]}
    if "body" in wanted and loose.strip() and not any(context.blocks[name] for name in BLOCKS[1:]):
        found["body"] = loose
    return found


def _silent(context: Context) -> Iterator[str]:
    return iter(())


def problem(what: str, error: Exception) -> TemplateProblem:
    """Which template could not be used, in which line, and why."""
    line, source = _line(error), None
    if isinstance(error, TemplateSyntaxError):
        line, source = error.lineno, error.name
    where = f" line {line}" if line else ""
    where += f" of {source!r}" if source and source not in what else ""
    if isinstance(error, RecursionError):
        reason = "calls itself without end"
    elif isinstance(error, TemplateNotFound):
        reason = f"there is no template {error.name!r}"
    elif isinstance(error, TemplateProblem | TemplateError):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"
    return TemplateProblem(cut(f"{what} was not used:{where + ':' if where else ''} {one_line(reason)}", 500))


def _line(error: Exception) -> int | None:
    """The line of the template in which ``error`` was raised."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def validated(text: str, what: str) -> str:
    """``text``, if it is JSON.

    :raises TemplateProblem: if not; names the line of the result.
    """
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        shown = cut(text.split("\n")[error.lineno - 1].strip(), 120)
        raise TemplateProblem(
            f"{what} was not used: line {error.lineno} of its result is not JSON ({error.msg}): {shown!r};"
            " whole values are written with '| tojson'"
        ) from None
    except (ValueError, RecursionError) as error:
        raise TemplateProblem(f"{what} was not used: its result is not JSON: {error}") from None
    return str(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
