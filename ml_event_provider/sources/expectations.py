"""Reads one expectation's outcome (``ExpectationValidationResult`` of Great Expectations 1.x), by its attributes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ml_event_provider.events.bounds import cut
from ml_event_provider.events.steady import steady
from ml_event_provider.sources.plain import MAX_TEXT, joined, named, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The longest observed value as JSON; a longer one is a cut text.
MAX_OBSERVED = 1_000

#: Arguments that say where an expectation looked, or are far too long to read.
_HIDDEN_ARGUMENTS = frozenset({"batch_id", "column", "partition_object"})


def expectation_type(outcome: Any) -> str:
    """The snake-case name of the expectation that an ``ExpectationValidationResult`` is of."""
    config = outcome.expectation_config
    return str(getattr(config, "type", "") or getattr(config, "expectation_type", ""))


def exception_message(outcome: Any) -> str:
    """What an expectation raised while it was evaluated, without the traceback; empty if nothing."""
    return "; ".join(dict.fromkeys(_exceptions(outcome.exception_info)))


def _exceptions(information: Any) -> Iterator[str]:
    # Either one exception's fields, or such fields for each metric that failed.
    if not isinstance(information, dict):
        return
    if "raised_exception" in information or "exception_message" in information:
        if message := information.get("exception_message"):
            yield cut(str(message), MAX_TEXT)
        return
    for item in information.values():
        yield from _exceptions(item)


def failed(outcome: Any) -> dict[str, Any]:
    """What an event tells of an expectation that was not met; never the unexpected values themselves."""
    config = outcome.expectation_config
    found = outcome.result or {}
    arguments = dict(config.kwargs or {})
    return {
        "expectation_type": expectation_type(outcome),
        "column": _column(arguments),
        "severity": str(plain(getattr(config, "severity", None)) or "critical"),
        "observed_value": _observed(found.get("observed_value")),
        "detail": _detail(outcome, found, arguments),
    }


def _observed(value: Any) -> Any:
    known = plain(value)
    text = json.dumps(known, ensure_ascii=False)
    return known if len(text) <= MAX_OBSERVED else cut(text, MAX_OBSERVED)


def _column(arguments: Mapping[str, Any]) -> str:
    if arguments.get("column") is not None:
        return cut(str(arguments["column"]), MAX_TEXT)
    several = arguments.get("column_list") or [arguments.get("column_A"), arguments.get("column_B")]
    return joined(several)


def _detail(outcome: Any, found: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    if message := exception_message(outcome):
        return f"could not be evaluated: {message}"
    parts = []
    if found.get("unexpected_count") is not None:
        total = f" of {found['element_count']}" if found.get("element_count") is not None else ""
        parts.append(f"{found['unexpected_count']}{total} values are unexpected")
    parts += [
        f"{name}={plain(value)}"
        for name, value in arguments.items()
        if name not in _HIDDEN_ARGUMENTS and value is not None
    ]
    return cut(", ".join(parts), MAX_TEXT)


def content(validation: Any) -> list[Any]:
    """What names one validation among those of one run: the data, the suite, and what came out of it."""
    return [
        plain(getattr(validation, "asset_name", None)),
        plain(getattr(validation, "batch_id", None)),
        plain(getattr(validation, "suite_name", None)),
        [_outcome(outcome) for outcome in validation.results],
    ]


def _outcome(outcome: Any) -> list[Any]:
    found = outcome.result or {}
    counts = [plain(found.get(name)) for name in ("element_count", "unexpected_count")]
    return [
        expectation_type(outcome),
        bool(outcome.success),
        named(plain(dict(outcome.expectation_config.kwargs or {}))),
        named(_observed(found.get("observed_value"))),
        counts,
        steady(exception_message(outcome)),
    ]
