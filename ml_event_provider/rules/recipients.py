"""Reads mail addresses as people write them, the same in every version of Python.

Names are passed over: ``Ann Lee <ann@example.com>``, ``"Lee, Ann" <ann@example.com>``, ``ann@example.com (Ann)``.
"""

from __future__ import annotations

import re
from typing import Any, Final

#: A quoted or bracketed part, else what stands between two: also in full width, as Chinese keyboards write it.
_SEPARATOR: Final = re.compile(r'("(?:[^"\\]|\\.)*"|<[^<>]*>|\([^()]*\))|[,;\uff0c\uff1b\n]', re.DOTALL)
_NAMED: Final = re.compile(r"(?P<name>.*)<(?P<address>[^<>]*)>\s*", re.DOTALL)
_COMMENTED: Final = re.compile(r"(?P<address>[^\s()]+)\s*\((?P<name>.*)\)\s*", re.DOTALL)


def split_name(text: str) -> tuple[str, str]:
    """The name, which may be empty, and the address of one entry; what is neither is the address as it is."""
    text = text.strip()
    found = _NAMED.fullmatch(text) or _COMMENTED.fullmatch(text)
    if found is None:
        return "", text
    name = found["name"].strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1], flags=re.DOTALL)
    return name, found["address"].strip()


def addresses(value: Any) -> list[str]:
    """The addresses in a list, or a text with commas, semicolons or lines between, each once, without names."""
    texts = value if isinstance(value, list | tuple | set | frozenset) else [value]
    entries = [entry for text in texts if text is not None for entry in _entries(str(text))]
    return list(dict.fromkeys(address for _, address in map(split_name, entries) if address))


def _entries(text: str) -> list[str]:
    """The entries of a text; a separator between quotes or brackets, or in a name before ``<``, is none."""
    # A quote or bracket without its other half is a character like any other.
    ends = [found.span() for found in _SEPARATOR.finditer(text) if not found[1]]
    starts = [0, *(end for _, end in ends)]
    stops = [*(start for start, _ in ends), len(text)]
    entries = [text[start:stop].strip() for start, stop in zip(starts, stops, strict=True)]
    return _joined([entry for entry in entries if entry])


def _joined(entries: list[str]) -> list[str]:
    """``Lee, Ann <ann@example.com>`` was written without quotes: what has no @ belongs to the name that follows."""
    joined: list[str] = []
    pending: list[str] = []
    for entry in entries:
        if "@" not in entry:
            pending.append(entry)
            continue
        if pending and _NAMED.fullmatch(entry):
            entry = ", ".join([*pending, entry])
        else:
            joined += pending
        pending = []
        joined.append(entry)
    return joined + pending
