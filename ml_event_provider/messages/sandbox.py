"""Where templates run: they read values and call functions of the dialect, and reach or exhaust no more.

Beside Jinja's sandbox: loop steps, calls, operations and filters are counted (``limits``); ranges, texts,
containers and whole numbers have a size; attributes and filters are allowed by name. So every template ends
within its limits, and no thread has to be killed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from jinja2 import BaseLoader, Undefined, nodes
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import _GroupTuple
from jinja2.runtime import BlockReference, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from ml_event_provider.events.model import Event
from ml_event_provider.exceptions import LimitReached, TemplateProblem
from ml_event_provider.messages import limits
from ml_event_provider.messages.about import About
from ml_event_provider.messages.dialect import Dialect, Json, Written
from ml_event_provider.messages.filters import FILTERS
from ml_event_provider.messages.guards import Generator, Guards, code_in
from ml_event_provider.messages.limits import BUDGET, checked, step, steps
from ml_event_provider.messages.plain import ABSENT, json_of, text_of

if TYPE_CHECKING:
    from jinja2.environment import Template
    from jinja2.runtime import Context


class Missing(Undefined):
    """A field that the event does not have; its fields are missing too, and comparing with it is false."""

    __slots__ = ()

    def _below(self, name: object) -> Missing:
        return Missing(name=f"{self._undefined_name}.{name}")

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self._below(name)

    def __getitem__(self, key: object) -> Missing:  # type: ignore[override]
        return self._below(key)

    def _false(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _false  # type: ignore[assignment]

    @property
    def path(self) -> str:
        """The field's name with those above it, as far as known."""
        return str(self._undefined_name)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Jinja's filters that cannot make much of little.
JINJA = _names(
    """abs capitalize count d default dictsort first float groupby int items last length list lower map max
    min reject rejectattr reverse select selectattr sort string title trim unique upper urlencode wordcount"""
)
#: What templates may read of each kind of object, beside the items of mappings and lists.
_ALLOWED: tuple[tuple[Any, frozenset[str]], ...] = (
    (
        str,
        _names(
            """capitalize casefold count endswith find index isalnum isalpha isdecimal isdigit islower
            isnumeric isspace istitle isupper lower lstrip partition removeprefix removesuffix rfind rindex
            rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"""
        ),
    ),
    (Mapping, _names("get items keys values")),
    (_GroupTuple, _names("grouper list")),
    ((list, tuple), _names("count index")),
    (date, _names("year month day hour minute second isoformat weekday isoweekday date time timestamp")),
    (timedelta, _names("days seconds total_seconds")),
    (Event, frozenset(item.name for item in fields(Event))),
    (About, frozenset({*(item.name for item in fields(About)), "ordinary", "lines", "unnamed"})),
)
#: The kinds of which each template reads much.
_READ: dict[type, frozenset[str]] = {kind: names for kind, names in _ALLOWED if kind in (Event, About)}
#: Jinja's own objects: every attribute without an underscore.
_OPEN = (LoopContext, Macro, BlockReference, Namespace, TemplateModule, Missing)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja for one dialect: data is escaped when it is written, templates' own text and functions are not.

    Autoescape is off because ``finalize`` escapes for every dialect, HTML included.
    """

    code_generator_class = Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, dialect: Dialect, loader: BaseLoader, *, max_output_bytes: int, trim: bool = True) -> None:
        self.dialect = dialect
        self.max_output_bytes = max_output_bytes
        super().__init__(
            loader=loader,
            autoescape=False,
            finalize=self.written,
            undefined=Missing,
            trim_blocks=trim,
            lstrip_blocks=trim,
            cache_size=400,
        )
        chosen: dict[str, Callable[..., Any]] = {name: JINJA_FILTERS[name] for name in JINJA}
        chosen |= {
            "replace": limits.bounded_replace,
            "round": limits.bounded_round,
            "sum": limits.bounded_sum,
        }
        chosen |= {"join": self.join, "tojson": self.tojson, "safe": Written}
        chosen |= {"escape": dialect.inline, "e": dialect.inline, **FILTERS}
        self.filters = {name: _counted(function) for name, function in chosen.items()}
        self.filters |= {"_steps": steps, "_checked": checked}
        self.globals = {
            "range": limits.bounded_range,
            "dict": dict,
            "namespace": Namespace,
            **dialect.globals(),
        }
        #: The dialect's functions, which are safe to call and take no context.
        self._own = frozenset(id(self.globals[name]) for name in dialect.functions)

    # What is written.

    def written(self, value: Any) -> Written:
        """``value`` in the dialect (Jinja's ``finalize``)."""
        if isinstance(value, Written):
            return value
        if isinstance(value, Missing):
            return self._missing(value)
        if value is None and isinstance(self.dialect, Json):
            return Written("")
        if isinstance(value, Iterator):
            raise TemplateProblem("prints a list that is not made yet: add '| list' or '| join(\", \")'")
        return self.dialect.inline(checked(value))

    def _missing(self, value: Missing) -> Written:
        budget = BUDGET.get()
        if budget is None or budget.lenient:
            return Written(ABSENT)
        budget.missing[value.path] = None
        return Written("")

    def concat(self, pieces: Iterable[str]) -> Written:
        """What a block, macro or template wrote (Jinja joins with this)."""
        found: list[str] = []
        length = 0
        for piece in pieces:
            length += len(piece)
            if length > self.max_output_bytes:
                raise LimitReached(f"writes more than {self.max_output_bytes:,} bytes: write less")
            found.append(piece)
        step(1 + length // 1000)
        return Written("".join(found))

    def joined(self, parts: tuple[Any, ...]) -> str:
        """The operator ``~``: data stays data; beside written text it is escaped first."""
        texts: list[str] = []
        for part in parts:
            if isinstance(part, str):
                if isinstance(part, Written):
                    return self.concat(map(self.written, parts))
                texts.append(part)
            else:
                texts.append(str(self._missing(part)) if isinstance(part, Missing) else text_of(checked(part)))
        text = "".join(texts)
        limits.check_size(len(text))
        step(1 + len(text) // 1000)
        return text

    def join(self, values: Any, separator: str = "", attribute: str | None = None) -> str:
        """Values, or a field of each, with a separator between."""
        parts: list[Any] = []
        length = 0
        for value in steps(values):
            if attribute is not None:
                value = self.getitem(value, attribute)
            length += limits.weight(value) + len(separator)
            limits.check_size(length)
            parts += [separator, value] if parts else [value]
        return self.joined(tuple(parts))

    def tojson(self, value: Any) -> str:
        """``value`` as JSON; in bodies of webhooks it is written as it is."""
        if isinstance(value, Missing):
            self._missing(value)
            value = None
        text = json_of(checked(value))
        return Written(text) if isinstance(self.dialect, Json) else text

    # What is allowed.

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read ``obj.attr``."""
        if attr.startswith("_"):
            return False
        return isinstance(obj, _OPEN) or any(isinstance(obj, kind) and attr in names for kind, names in _ALLOWED)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``: of an object of data, the field; a method only where there is no such field."""
        if type(obj) is dict or isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
        elif attribute in _READ.get(type(obj), ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse.

        :raises SecurityError: always.
        """
        raise SecurityError(f"reads {attribute!r} of {type(obj).__name__}, which templates may not")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function, counted."""
        step(limits.STEPS_OF_A_CALL)
        if id(__obj) in __self._own:
            # What Jinja hands to functions that take a context.
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
            return checked(__obj(*args, **kwargs))
        return checked(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, within bounds; with a missing value the result is missing."""
        step()
        for side in (left, right):
            if isinstance(side, Missing):
                return side
        limits.check_operation(operator, left, right)
        return checked(super().call_binop(context, operator, left, right))

    # How templates come in.

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > limits.MAX_SOURCE:
            raise LimitReached(f"has {len(source):,} characters; {limits.MAX_SOURCE:,} are allowed")
        if (code := code_in(source)) > limits.MAX_CODE:
            raise LimitReached(f"has {code:,} characters between braces; {limits.MAX_CODE:,} are allowed")
        tree = super()._parse(source, name, filename)
        Guards().visit(tree)
        tree.set_environment(self)
        return tree

    def _load_template(self, name: str, globals: Any) -> Template:
        step()
        return super()._load_template(name, globals)

    def compile(self, *args: Any, **options: Any) -> Any:
        """Compile a template (Jinja calls this); it is not the message's time that this takes."""
        budget = BUDGET.get()
        if budget is None:
            return super().compile(*args, **options)
        with budget.uncounted():
            return super().compile(*args, **options)


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        step()
        return checked(function(*args, **kwargs))

    return counted
