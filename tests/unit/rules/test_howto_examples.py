"""The rules of the how-to do in the engine what the stories below them say, no more and no less.

A story has a line for each moment, in UTC, from Monday the 5th of January 2026 on::

    [Tue |2026-12-24 ]06:00:00  event.type field=value …  [→ what follows[; and what else]]

``(…)`` in place of an event only lets the clock advance; ``(ana acknowledges)`` is what it says. A value is JSON or a
text. ``owner`` and ``workspace`` are the event's, all others its data's; ``late=10m`` is an event that happened ten
minutes before it is recorded. A number and the sign of multiplication before the type are so many events, and ``#`` in
a value counts them from 0. The rules are switched on with the first line. What follows may stand in a line of its own.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter

from ml_event_provider.events.catalogue import EVENT_TYPES
from ml_event_provider.events.model import Event
from ml_event_provider.rules.calendars import Duration
from ml_event_provider.rules.engine import Arrival, Engine, MemoryStates, Planned, PlannedDelivery
from ml_event_provider.rules.files import Definitions, load_definitions
from ml_event_provider.rules.reference import DOCUMENTS, parts
from ml_event_provider.rules.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGES = sorted((Path(__file__).parents[3] / "docs/howto").glob("rules*.md"))
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_BLOCK = re.compile(r"^```yaml\n(.*?)^```\n(?:(?!```)[^\n]*\n)*?```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINE = re.compile(
    r"(?:(?P<day>\w{3}|\d{4}-\d\d-\d\d) )?(?P<clock>\d\d:\d\d:\d\d)  +"
    r"(?:(?P<count>\d+) \N{MULTIPLICATION SIGN} )?(?P<what>\([^)]*\)|[\w.]+)(?P<fields>[^→]*)(?:→ (?P<follows>.*))?"
)
_FIELD = re.compile(r'(\w+)=("[^"]*"|\S+)')


class Example(NamedTuple):
    """A rule file and its story."""

    page: str
    line: int
    rules: str
    story: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            yield Example(page.name, text.count("\n", 0, found.start()) + 1, found[1], found[2])


EXAMPLES = list(examples())


def definitions_of(example: Example, folder: Path) -> Definitions:
    path = folder / "rules.yaml"
    path.write_text(example.rules, "utf-8")
    return load_definitions(path)


class Moment(NamedTuple):
    """A line of a story, and what it says that follows."""

    head: str
    at: datetime
    what: str
    times: int
    fields: dict[str, str]
    follows: list[str]


def moments(story: str) -> Iterator[Moment]:
    at = MONDAY
    for line in re.sub(r"\n +→", "  →", story.strip("\n")).splitlines():
        found = _LINE.fullmatch(line)
        assert found, f"no line of a story: {line}"
        at = _moment(at, found["day"], found["clock"])
        fields = dict(_FIELD.findall(found["fields"]))
        assert not _FIELD.sub("", found["fields"]).strip(), f"cannot be read: {line}"
        follows = [one.strip() for one in (found["follows"] or "").split(";") if one]
        yield Moment(line.partition("→")[0].rstrip(), at, found["what"], int(found["count"] or 1), fields, follows)


def _moment(last: datetime, day: str | None, clock: str) -> datetime:
    time = datetime.strptime(clock, "%H:%M:%S").time()
    date = last.date()
    if day in DAYS:
        date += timedelta(days=(DAYS.index(day) - date.weekday()) % 7)
    elif day:
        date = datetime.fromisoformat(day).date()
    found = datetime.combine(date, time, UTC)
    assert found >= last, f"{day or ''} {clock} is before the line above it"
    return found


def events(moment: Moment) -> Iterator[Event]:
    """The events of a line, without those attributes that only the store gives."""
    for number in range(moment.times):
        data = {name: _value(text.replace("#", str(number))) for name, text in moment.fields.items()}
        late = TypeAdapter(Duration).validate_python(data.pop("late", "0s"))
        attributes = {name: data.pop(name) for name in ("owner", "workspace") if name in data}
        known = EVENT_TYPES.get(moment.what)
        assert known is None or data.keys() <= known.model.model_fields.keys(), moment.head
        yield Event(
            id=f"{moment.at.isoformat()}-{moment.what}-{json.dumps(data)}",
            source="/story",
            type=moment.what,
            time=moment.at - late,
            data=data,
            **attributes,
        )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def played(definitions: Definitions, story: str) -> list[str]:
    """The story as the engine tells it."""
    rules = RuleSet(
        definitions.rules,
        groups=definitions.resource_groups,
        calendars=definitions.calendars,
        silences=definitions.silences,
    )
    assert rules.broken == {}
    states = MemoryStates()
    engine = Engine(rules, states)
    told: list[str] = []
    seq = 0
    for moment in moments(story):
        now = moment.at.timestamp()
        engine.advance(now)
        engine.expect(now)
        if moment.what.endswith(" acknowledges)"):
            (place,) = (place for place, body in states.bodies.items() if place.role == "alert" and body["open"])
            engine.acknowledge(place, moment.what.split()[0].lstrip("("), now)
        elif not moment.what.startswith("("):
            for event in events(moment):
                seq += 1
                engine.take(Arrival(seq, event, now))
        told.append(_told(moment.head, [said(one, moment.at) for one in engine.planned]))
        engine.planned.clear()
    return told


def _told(head: str, follows: list[str]) -> str:
    return f"{head}  → {'; '.join(follows)}" if follows else head


def said(planned: Planned, now: datetime) -> str:
    """A notification in the words of a story."""
    moment = "" if planned.at == now.timestamp() else f"at {_shown(planned.at)} already "
    many = f" {planned.members} \N{MULTIPLICATION SIGN}" if planned.members > 1 else ""
    absent = planned.absent_event()
    about = f" without {', '.join(map(str, absent.data['key'])) or 'any'}" if absent else ""
    whom = ", ".join(_delivery(one) for one in planned.deliveries) or "nobody"
    return f"{moment}{planned.kind}{many}{about}: {whom}"


def _delivery(delivery: PlannedDelivery) -> str:
    options = dict(delivery.options)
    if delivery.action is not None:
        ((kind, form),) = delivery.action.items()
        rest = {name: value for name, value in form.items() if name not in {"dag_id", "uri", "name"}}
        named = form.get("dag_id") or form.get("uri") or form.get("name")
        text = " ".join([kind, named, *(f"{name}={_json(value)}" for name, value in rest.items())])
    else:
        text = " ".join([delivery.conn_id, *(f"{name}={_json(value)}" for name, value in options.items())])
    if delivery.template:
        text += f" by {delivery.template}"
    if delivery.muted:
        text += f" muted ({delivery.muted})"
    if delivery.not_before is not None:
        text += f" held until {_shown(delivery.not_before)}"
    if delivery.fallback is not None:
        text += f" or else {_fallback(delivery.fallback)}"
    return text


def _fallback(form: Mapping[str, Any]) -> str:
    options = [f"{name}={_json(value)}" for name, value in form.get("options", {}).items()]
    return " ".join([form["conn_id"], *options, *(["by", form["template"]] if "template" in form else [])])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%a %H:%M").removesuffix(":00")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_rule_has_a_story(page: Path) -> None:
    assert page.read_text("utf-8").count("```yaml\n") == sum(example.page == page.name for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_engine_tells_the_same_story(example: Example, tmp_path: Path) -> None:
    written = [_told(moment.head, moment.follows) for moment in moments(example.story)]
    assert played(definitions_of(example, tmp_path), example.story) == written


def _used(part: BaseModel) -> Iterator[tuple[type[BaseModel], str, Any]]:
    """The fields that an example writes, with their values."""
    for name in part.model_fields_set:
        value = getattr(part, name)
        yield type(part), name, value
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, BaseModel):
                yield from _used(inner)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[type[BaseModel], str, Any]]:
    folder = tmp_path_factory.mktemp("examples")
    return [
        field
        for example in EXAMPLES
        for section in definitions_of(example, folder)
        for document in section
        for field in _used(document)
    ]


FIELDS = [
    pytest.param(model, name, field, id=f"{title} {path}.{field.alias or name}".replace(" .", " "))
    for title, _, document in DOCUMENTS
    for path, model in parts(document).items()
    for name, field in model.model_fields.items()
]


@pytest.mark.parametrize(("model", "name", "field"), FIELDS)
def test_each_field_has_an_example(
    model: type[BaseModel], name: str, field: Any, used: list[tuple[type[BaseModel], str, Any]]
) -> None:
    first = next(one for one in reversed(model.__mro__) if name in getattr(one, "model_fields", {}))
    values = [value for owner, named, value in used if named == name and issubclass(owner, first)]
    assert values, f"no page has an example of {name} in {model.__name__}"
    if get_origin(field.annotation) is Literal and name not in {"severity", "min_severity", "comparison"}:
        assert set(get_args(field.annotation)) <= {*values, field.default}
