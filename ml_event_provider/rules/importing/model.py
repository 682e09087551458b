"""What an importer is given and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LeftOut(NamedTuple):
    """A part of the input that has no counterpart; ``path`` says where it stands."""

    path: str
    why: str


class Imported(NamedTuple):
    """One input rule: ours as a rule file has it, or ``None`` where none can be made, and what was left out."""

    name: str
    rule: dict[str, Any] | None
    left: tuple[LeftOut, ...] = ()


class Reading:
    """One mapping of the input: each key that nobody takes counts as left out."""

    def __init__(self, value: Mapping[str, Any], path: str = "") -> None:
        self._value = value
        self._path = path
        self._taken: set[str] = set()
        self._left: list[LeftOut] = []

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is thereby dealt with; ``default`` where there is none, or null."""
        self._taken.add(key)
        value = self._value.get(key)
        return default if value is None else value

    def leave(self, key: str, why: str) -> None:
        """Say that a key, if it is there and says anything, is left out."""
        self._taken.add(key)
        if self._value.get(key) not in (None, "", [], {}):
            self._left.append(LeftOut(self.at(key), why))

    def lose(self, key: str, why: str) -> None:
        """Say that a part is left out, whatever it holds."""
        self._taken.add(key)
        self._left.append(LeftOut(self.at(key), why))

    def at(self, key: str) -> str:
        """Where a key stands in the input."""
        return f"{self._path}.{key}" if self._path else key

    def left(self) -> tuple[LeftOut, ...]:
        """All that is left out, the keys that nobody took among it."""
        unknown = [LeftOut(self.at(str(key)), "is not known here") for key in self._value if key not in self._taken]
        return (*self._left, *unknown)


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A value that must be a mapping.

    :raises ValueError: if it is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a mapping, not {type(value).__name__}")
    return value


def mappings(value: Any, what: str) -> Sequence[Mapping[str, Any]]:
    """A value that must be a list of mappings.

    :raises ValueError: if it is none.
    """
    if not isinstance(value, list):
        raise ValueError(f"{what} is a list, not {type(value).__name__}")
    return [mapping(each, f"{what}[{number}]") for number, each in enumerate(value)]
