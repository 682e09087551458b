"""Keeps one rule from holding up the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_event_provider.rules.engine.engine import Engine
    from ml_event_provider.rules.engine.states import Place
    from ml_event_provider.rules.model import Rule


class Guard:
    """Keeps one rule from holding up the others: what it raises here is noted, and goes no further."""

    __slots__ = ("_about", "_engine", "_place", "_rule", "_said")

    def __init__(
        self, engine: Engine, rule: Rule, place: Place | None, about: Sequence[tuple[int | None, str]]
    ) -> None:
        self._engine, self._rule, self._place, self._about = engine, rule, place, about
        self._said = len(engine.planned), len(engine.decisions)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._engine.failed(error, self._rule, self._place, self._about, self._said)
        return True
