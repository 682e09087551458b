"""Placeholders: ``${name}`` in the texts of a rule template stands for a parameter.

A text that is nothing but ``${name}`` becomes the parameter's value with its type; a parameter without a value
leaves out the field or the entry in which it stands so. In a longer text its value is written as text. ``$${`` is
``${`` itself.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ml_event_provider.rules.documents import Place

_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{([^${}]*)(\})?")
_LEFT_OUT: Final = object()


def placeholders(value: Any, place: Place = ()) -> Iterator[tuple[Place, str | None]]:
    """Where which parameters stand in a value; ``None`` is a placeholder that is not closed."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from placeholders(item, (*place, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from placeholders(item, (*place, index))
    elif isinstance(value, str):
        for found in _PLACEHOLDER.finditer(value):
            if found[1] is not None:
                yield place, found[1] if found[2] else None


def names_in(value: Any) -> set[str]:
    """The parameters that stand in a value."""
    return {name for _, name in placeholders(value) if name is not None}


def filled(value: Any, parameters: Mapping[str, Any]) -> Any:
    """The value with the parameters in their places. All must be there; what they hold is not looked at again."""
    if isinstance(value, dict):
        items = ((key, filled(item, parameters)) for key, item in value.items())
        return {key: item for key, item in items if item is not _LEFT_OUT}
    if isinstance(value, list | tuple):
        return [item for item in (filled(item, parameters) for item in value) if item is not _LEFT_OUT]
    if not isinstance(value, str):
        return value
    alone = _PLACEHOLDER.fullmatch(value)
    if alone is not None and alone[1] is not None:
        found = parameters[alone[1]]
        return _LEFT_OUT if found is None else found
    return _PLACEHOLDER.sub(lambda found: "${" if found[1] is None else _text(parameters[found[1]]), value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
