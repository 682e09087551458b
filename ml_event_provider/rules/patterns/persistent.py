"""Maps that never change: a change gives a new map that shares almost all of the old one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

V = TypeVar("V")

_SHARD: Final = 32
_CHUNK: Final = 512


class PersistentMap(Generic[V]):
    """A hash map in shards of about 32 entries; a change copies one shard and the list of shards."""

    __slots__ = ("_mask", "_shards", "_size")

    def __init__(self, shards: list[dict[Hashable, V]] | None = None, size: int = 0) -> None:
        self._shards = shards or [{}]
        self._mask = len(self._shards) - 1
        self._size = size

    def __len__(self) -> int:
        return self._size

    def get(self, key: Hashable) -> V | None:
        """The value at ``key``, or ``None``."""
        return self._shards[hash(key) & self._mask].get(key)

    def get_each(self, keys: Iterable[Hashable]) -> list[V]:
        """The values at those of the keys that are there."""
        shards, mask = self._shards, self._mask
        return [value for key in keys if (value := shards[hash(key) & mask].get(key)) is not None]

    def items(self) -> Iterator[tuple[Hashable, V]]:
        """All keys with their values."""
        for shard in self._shards:
            yield from shard.items()

    def values(self) -> Iterator[V]:
        """The values of all keys."""
        for shard in self._shards:
            yield from shard.values()

    def with_item(self, key: Hashable, value: V) -> PersistentMap[V]:
        """This map with ``value`` at ``key``."""
        old = self._shards
        number = hash(key) & self._mask
        shard = old[number].copy()
        before = len(shard)
        shard[key] = value
        shards = old.copy()
        shards[number] = shard
        size = self._size + len(shard) - before
        return PersistentMap(shards if size <= _SHARD * len(shards) else _doubled(shards), size)

    def without(self, key: Hashable) -> PersistentMap[V]:
        """This map without ``key``."""
        number = hash(key) & self._mask
        if key not in self._shards[number]:
            return self
        shard = self._shards[number].copy()
        del shard[key]
        shards = self._shards.copy()
        shards[number] = shard
        return PersistentMap(shards, self._size - 1) if self._size > 1 else PersistentMap()


def _doubled(shards: list[dict[Hashable, V]]) -> list[dict[Hashable, V]]:
    mask = 2 * len(shards) - 1
    wider: list[dict[Hashable, V]] = [{} for _ in range(mask + 1)]
    for shard in shards:
        for key, value in shard.items():
            wider[hash(key) & mask][key] = value
    return wider


class Thresholds(Generic[V]):
    """Numbers with a value each, in order; a number may stand several times."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: tuple[tuple[tuple[float, V], ...], ...] = ()) -> None:
        self._chunks = chunks

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def _chunk_of(self, number: float) -> int:
        return max(0, bisect_left(self._chunks, number, key=_first) - 1)

    def with_item(self, number: float, value: V) -> Thresholds[V]:
        """These and one more."""
        if not self._chunks:
            return Thresholds((((number, value),),))
        at = self._chunk_of(number)
        chunk = self._chunks[at]
        place = bisect_right(chunk, number, key=_number)
        chunk = (*chunk[:place], (number, value), *chunk[place:])
        half = len(chunk) // 2
        parts = (chunk,) if len(chunk) <= _CHUNK else (chunk[:half], chunk[half:])
        return Thresholds((*self._chunks[:at], *parts, *self._chunks[at + 1 :]))

    def without(self, number: float, value: V) -> Thresholds[V]:
        """These without the one that was added so."""
        for at in range(self._chunk_of(number), len(self._chunks)):
            chunk = self._chunks[at]
            for place in range(bisect_left(chunk, number, key=_number), len(chunk)):
                if chunk[place][0] != number:
                    return self
                if chunk[place][1] is value:
                    rest = (*chunk[:place], *chunk[place + 1 :])
                    return Thresholds((*self._chunks[:at], *((rest,) if rest else ()), *self._chunks[at + 1 :]))
        return self

    def up_to(self, number: float) -> list[V]:
        """The values of all numbers that are at most ``number``."""
        found: list[V] = []
        for chunk in self._chunks:
            if chunk[-1][0] <= number:
                found.extend(value for _, value in chunk)
            else:
                found.extend(value for _, value in chunk[: bisect_right(chunk, number, key=_number)])
                break
        return found

    def from_(self, number: float) -> list[V]:
        """The values of all numbers that are at least ``number``."""
        found: list[V] = []
        for chunk in reversed(self._chunks):
            if chunk[0][0] >= number:
                found.extend(value for _, value in chunk)
            else:
                found.extend(value for _, value in chunk[bisect_left(chunk, number, key=_number) :])
                break
        return found


def _number(item: tuple[float, V]) -> float:
    return item[0]


def _first(chunk: tuple[tuple[float, V], ...]) -> float:
    return chunk[0][0]
