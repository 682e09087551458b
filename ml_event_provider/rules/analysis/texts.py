"""Whether any text fulfils all of several demands: their elements as finite automata, run side by side."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.analysis.demands import block, operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ml_event_provider.rules.analysis.demands import Demand

#: How many states of all automata together are looked at.
MAX_STATES: Final = 4000

#: One step of an expression: one of these texts; or any number of any characters, or of zeros.
_Step = tuple[str, ...] | None
_ANY: Final[_Step] = None
_ZEROS: Final[_Step] = ()

_States = frozenset[int]


class TooLarge(Exception):
    """The automata have more states than are looked at."""


def _fold(text: str) -> str:
    """As the language folds the text and the value of a wildcard in any case."""
    return text.upper().casefold()


class _Automaton:
    """Accepts what one of its expressions does. With ``folded`` it reads the folded text."""

    def __init__(self, expressions: Iterable[Sequence[_Step]], *, folded: bool = False) -> None:
        self.folded = folded
        self.edges: list[list[tuple[str | None, int]]] = []
        self.final: set[int] = set()
        self._steps: dict[tuple[_States, str], _States] = {}
        self.start: _States = frozenset(self._add(expression) for expression in expressions)
        self.labels = {label for edges in self.edges for label, _ in edges if label is not None}

    def _state(self) -> int:
        self.edges.append([])
        return len(self.edges) - 1

    def _add(self, expression: Sequence[_Step]) -> int:
        start = state = self._state()
        for step in expression:
            if not step:
                self.edges[state].append((None if step is _ANY else "0", state))
                continue
            end = self._state()
            for text in set(step):
                at = state
                for char in text[:-1]:
                    between = self._state()
                    self.edges[at].append((char, between))
                    at = between
                self.edges[at].append((text[-1], end))
            state = end
        self.final.add(state)
        return start

    def step(self, states: _States, char: str) -> _States:
        found = self._steps.get((states, char))
        if found is None:
            found = states
            for one in _fold(char) if self.folded else char:
                found = frozenset(
                    target for state in found for label, target in self.edges[state] if label is None or label == one
                )
            self._steps[states, char] = found
        return found


@lru_cache(512)
class _Texts:
    """The texts of one demand: those of ``wanted``, and those that none of one of ``excluded`` accepts."""

    def __init__(self, demand: Demand, over: bool) -> None:
        plain: list[Sequence[_Step]] = []
        folded: list[Sequence[_Step]] = []
        self.excluded: list[_Automaton] = []
        for element in demand.plain:
            name, asked = operator(element)
            if name == "exists":
                self.excluded.append(_Automaton(()))
            elif name == "anything-but":
                self.excluded.append(_Automaton(_excluded(asked)))
            elif name == "regex" or block(element) is not None:
                # Only bounds of these are known: all such texts are, or none is.
                if over:
                    plain.append(_bound(element))
            elif name == "wildcard" and isinstance(asked, dict):
                text = asked["equals-ignore-case"]
                parts = _parts(text)
                if len(parts) > 1 or over:
                    folded.append(_joined([_literal(_fold(part)) for part in parts]))
                if len(parts) == 1 and over:
                    plain.append(_caseless(parts[0]))
            elif isinstance(asked, str | dict):
                plain.append(_expression(name, asked))
        self.wanted = [_Automaton(plain), *([_Automaton(folded, folded=True)] if folded else [])]
        self.automata = [*self.wanted, *self.excluded]

    def accepts(self, states: Sequence[_States]) -> bool:
        count = len(self.wanted)
        return any(
            not automaton.final.isdisjoint(found) for automaton, found in zip(self.wanted, states, strict=False)
        ) or any(
            automaton.final.isdisjoint(found) for automaton, found in zip(self.excluded, states[count:], strict=True)
        )

    def dead(self, states: Sequence[_States]) -> bool:
        return not self.excluded and not any(states)


def find(wanted: Sequence[Demand], avoided: Sequence[Demand] = ()) -> str | None:
    """A shortest text that fulfils all of ``wanted`` and none of ``avoided``; ``None`` if there is none.

    Of IP addresses and ``regex`` only bounds are known, so the text may be none, but ``None`` is certain.

    :raises TooLarge: if the question is too large.
    """
    languages = [
        *((_Texts(demand, True), True) for demand in wanted),
        *((_Texts(demand, False), False) for demand in avoided),
    ]
    spans = []
    automata: list[_Automaton] = []
    for texts, positive in languages:
        spans.append((texts, positive, len(automata), len(automata) + len(texts.automata)))
        automata += texts.automata
    alphabet = _alphabet(automata)
    first = tuple(automaton.start for automaton in automata)
    seen = {first}
    todo = deque([(first, "")])
    while todo:
        states, text = todo.popleft()
        if all(texts.accepts(states[low:high]) is positive for texts, positive, low, high in spans):
            return text
        for char in alphabet:
            after = tuple(automaton.step(found, char) for automaton, found in zip(automata, states, strict=True))
            if after in seen:
                continue
            if any(positive and texts.dead(after[low:high]) for texts, positive, low, high in spans):
                continue
            if len(seen) >= MAX_STATES:
                raise TooLarge
            seen.add(after)
            todo.append((after, text + char))
    return None


def _alphabet(automata: Iterable[_Automaton]) -> list[str]:
    """A character for each class of characters that no automaton tells apart."""
    exact: set[str] = set()
    folded: set[str] = set()
    for automaton in automata:
        (folded if automaton.folded else exact).update(automaton.labels)
    known = exact | folded
    for char in folded:
        known |= _unfolded().get(char, set())
    other = next(char for char in map(chr, chain(range(0x61, 0x7B), range(0x110000))) if char not in known)
    classes: dict[tuple[str, str], str] = {}
    for char in sorted(known, reverse=True):
        form = _fold(char)
        classes[char if char in exact else "", "" if folded.isdisjoint(form) else form] = char
    classes["", ""] = other
    return [*classes.values()]


@lru_cache(1)
def _unfolded() -> dict[str, set[str]]:
    """The characters that are not their own folded form, by the characters of that form."""
    found: dict[str, set[str]] = {}
    for char in map(chr, range(0x110000)):
        form = _fold(char)
        if form != char:
            for each in form:
                found.setdefault(each, set()).add(char)
    return found


def _literal(text: str) -> list[_Step]:
    return [(char,) for char in text]


def _caseless(text: str) -> list[_Step]:
    return [(char.lower(), char.upper()) for char in text]


def _parts(text: str) -> list[str]:
    """The texts between the stars of a wildcard."""
    parts = [""]
    chars = iter(text)
    for char in chars:
        if char == "*":
            parts.append("")
        else:
            parts[-1] += next(chars) if char == "\\" else char
    return parts


def _joined(parts: Sequence[list[_Step]]) -> list[_Step]:
    steps = [*parts[0]]
    for part in parts[1:]:
        steps += [_ANY, *part]
    return steps


def _expression(name: str, asked: Any) -> list[_Step]:
    caseless = isinstance(asked, dict) or name == "equals-ignore-case"
    text = asked["equals-ignore-case"] if isinstance(asked, dict) else asked
    if name == "wildcard":
        return _joined([_literal(part) for part in _parts(text)])
    steps = _caseless(text) if caseless else _literal(text)
    if name == "prefix":
        return [*steps, _ANY]
    return [_ANY, *steps] if name == "suffix" else steps


def _excluded(asked: Any) -> list[list[_Step]]:
    name, inner = operator(asked) if isinstance(asked, dict) else ("", asked)
    listed = inner if isinstance(inner, list) else [inner]
    return [_expression(name, text) for text in listed if isinstance(text, str)]


def _bound(element: Any) -> list[_Step]:
    """An expression of all texts that may fulfil the element, and of some others."""
    found = block(element)
    if found is None:
        return [_ANY]
    if found.version == 6:
        return [_ANY, (":",), _ANY, (":",), _ANY]
    steps: list[_Step] = []
    # The bytes that are the same in the whole block, in decimal; zeros may stand before them.
    for number in found.network_address.packed[: found.prefixlen // 8]:
        steps += [*([(".",)] if steps else []), _ZEROS, *_literal(str(number))]
    return [*steps, _ANY]
