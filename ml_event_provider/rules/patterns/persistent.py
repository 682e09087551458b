"""Maps that never change: a change gives a new map that shares almost all of the old one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

V = TypeVar("V")

_SHARD: Final = 32
_CHUNK: Final = 512


class PersistentMap(Generic[V]):
    """A hash map in shards of about 32 entries; a change copies the list of shards and those that it touches."""

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

    def changed(self, values: Mapping[Hashable, V]) -> PersistentMap[V]:
        """This map with other values at some keys; what is false, an empty tuple, removes the key."""
        if not self._size:
            known = {key: value for key, value in values.items() if value}
            return PersistentMap(_spread([known], len(known)), len(known))
        shards, mask, size = self._shards.copy(), self._mask, self._size
        copied: set[int] = set()
        for key, value in values.items():
            number = hash(key) & mask
            if number not in copied:
                copied.add(number)
                shards[number] = shards[number].copy()
            shard = shards[number]
            size -= len(shard)
            if value:
                shard[key] = value
            else:
                shard.pop(key, None)
            size += len(shard)
        if not size:
            return PersistentMap()
        return PersistentMap(shards if size <= _SHARD * len(shards) else _spread(shards, size), size)


def _spread(shards: list[dict[Hashable, V]], size: int) -> list[dict[Hashable, V]]:
    """The same entries in so many shards that each has about half of the most."""
    mask = (1 << (size // _SHARD).bit_length()) - 1
    wider: list[dict[Hashable, V]] = [{} for _ in range(mask + 1)]
    for shard in shards:
        for key, value in shard.items():
            wider[hash(key) & mask][key] = value
    return wider


class Thresholds(Generic[V]):
    """Numbers in order, with some values each."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: tuple[tuple[tuple[float, tuple[V, ...]], ...], ...] = ()) -> None:
        self._chunks = chunks

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def _chunk_of(self, number: float) -> int:
        """The number of the chunk that holds a number, or into which it would be put."""
        return max(0, bisect_right(self._chunks, number, key=_first) - 1)

    def get(self, number: float) -> tuple[V, ...] | None:
        """The values of a number, or ``None``."""
        return dict(self._chunks[self._chunk_of(number)]).get(number) if self._chunks else None

    def changed(self, values: Mapping[float, tuple[V, ...]]) -> Thresholds[V]:
        """These with other values at some numbers; no values remove the number."""
        changes: dict[int, dict[float, tuple[V, ...]]] = {}
        for number, some in values.items():
            changes.setdefault(self._chunk_of(number), {})[number] = some
        chunks: list[tuple[tuple[float, tuple[V, ...]], ...]] = []
        for at, chunk in enumerate(self._chunks or ((),)):
            if at not in changes:
                chunks.append(chunk)
                continue
            items = sorted([item for item in (dict(chunk) | changes[at]).items() if item[1]], key=_number)
            parts = len(items) // _CHUNK + 1
            step = len(items) // parts + 1
            chunks += [tuple(items[start : start + step]) for start in range(0, len(items), step)]
        return Thresholds(tuple(chunks))

    def up_to(self, number: float) -> list[V]:
        """The values of all numbers that are at most ``number``."""
        found: list[V] = []
        for chunk in self._chunks:
            if chunk[-1][0] > number:
                chunk = chunk[: bisect_right(chunk, number, key=_number)]
            if not chunk:
                break
            found += [value for _, values in chunk for value in values]
        return found

    def from_(self, number: float) -> list[V]:
        """The values of all numbers that are at least ``number``."""
        found: list[V] = []
        for chunk in reversed(self._chunks):
            if chunk[0][0] < number:
                chunk = chunk[bisect_left(chunk, number, key=_number) :]
            if not chunk:
                break
            found += [value for _, values in chunk for value in values]
        return found


def _number(item: tuple[float, object]) -> float:
    return item[0]


def _first(chunk: tuple[tuple[float, object], ...]) -> float:
    return chunk[0][0]
