"""Fills the templates in a JSON value: the configuration that an action gives to a DAG, say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any

from jinja2 import DictLoader, Undefined, nodes

from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import TemplateProblem
from ml_event_provider.messages.blocks import problem
from ml_event_provider.messages.dialect import Dialect, Written
from ml_event_provider.messages.limits import BUDGET, Budget, checked, spending, steps
from ml_event_provider.messages.plain import text_of
from ml_event_provider.messages.sandbox import Missing, Sandbox

if TYPE_CHECKING:
    from jinja2 import Template

#: How much processor time all templates of one value may take together, in seconds.
SECONDS = 0.25
#: The most that one template may write, in bytes.
MAX_OUTPUT_BYTES = 64 * 1024
#: Half a surrogate pair, which UTF-8 cannot carry, and NUL, which PostgreSQL does not store.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class _Exact(Dialect):
    """Values as they are: no markup, and every line break and digit kept."""

    name = "exact"
    functions = ()

    def inline(self, value: Any) -> Written:
        return Written(_exact(value))


def render_values(value: Any, variables: Mapping[str, Any], *, what: str = "values", seconds: float = SECONDS) -> Any:
    """A copy of a JSON value with its templates filled; keys are no templates.

    A text that is exactly one ``{{ expression }}`` becomes the expression's own JSON value, every other text
    stays a text. A field that is missing is an error: ``{{ data.x | default(none) }}`` says that it may be.

    :raises TemplateProblem: if a template fails; names its place below ``what``.
    """
    with spending(Budget(seconds)) as budget:
        return _render(value, dict(variables), what, budget)


def json_value(value: Any) -> Any:
    """A copy of a value as JSON has it and every database stores it.

    Times become RFC 3339 texts and events objects; NaN and infinity become null; NUL and half surrogate pairs become
    U+FFFD.

    :raises TemplateProblem: if there is something that JSON does not have.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str | datetime):
        return _UNSTORABLE.sub("\ufffd", _exact(value))
    if isinstance(value, Missing):
        budget = BUDGET.get()
        if budget is not None:
            budget.missing[value.path] = None
        return None
    if isinstance(value, Event):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {json_value(text_of(key)): json_value(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [json_value(item) for item in steps(value)]
    raise TemplateProblem(f"makes a {type(value).__name__}, which JSON does not have")


def _render(value: Any, variables: dict[str, Any], where: str, budget: Budget) -> Any:
    if isinstance(value, Mapping):
        return {json_value(str(key)): _render(item, variables, f"{where}.{key}", budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_render(item, variables, f"{where}[{index}]", budget) for index, item in enumerate(value)]
    if not isinstance(value, str) or "{" not in value:
        return json_value(value)
    try:
        filled = checked(json_value(_fill(value, variables)))
        if budget.missing:
            raise TemplateProblem(
                f"there is no {next(iter(budget.missing))!r}: add '| default(…)' if it may be missing"
            )
    except Exception as error:
        raise problem(where, error) from error
    return filled


def _fill(source: str, variables: dict[str, Any]) -> Any:
    template, is_expression = _compiled(source)
    context = template.new_context(variables)
    written = template.environment.concat(template.root_render_func(context))
    return context.vars["result"] if is_expression else written


@lru_cache(maxsize=256)
def _compiled(source: str) -> tuple[Template, bool]:
    """The template, and whether it is one expression, whose value is then in the variable ``result``."""
    sandbox = _sandbox()
    tree = sandbox.parse(source)
    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            # As Environment.compile_expression does, which would go past the sandbox's guards.
            result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=expression.lineno)
            tree = nodes.Template([result], lineno=1)
            tree.set_environment(sandbox)
            return sandbox.from_string(tree), True
    return sandbox.from_string(source), False


@cache
def _sandbox() -> Sandbox:
    return Sandbox(_Exact(), DictLoader({}), max_output_bytes=MAX_OUTPUT_BYTES, trim=False)


def _exact(value: Any) -> str:
    """A value as text, without loss."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and isfinite(value):
        return repr(value)
    if isinstance(value, Undefined):
        return ""
    return text_of(value)
