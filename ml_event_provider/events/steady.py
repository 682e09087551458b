"""What stays the same of a text that is printed again: an error's, say, at each parse of its file.

An identity over such a text must not hold what differs each time although nothing changed: process ids, addresses of
objects, temporary names, times and durations, the order of a set.
"""

from __future__ import annotations

import re
from typing import Final

_PASSING: Final = re.compile(
    "|".join(
        (
            # A moment with a time of day; a date alone may be what the error is about.
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?Z|\s?[+-]\d\d:?\d\d)?",
            r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?",
            # The address of an object, a UUID, a commit or another long hexadecimal number.
            r"\b0x[0-9a-f]{5,}",
            r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
            r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b",
            r"(?<=\bpid)\W{0,3}\d+",
            r"(?<=process)\W{0,3}\d+",
            r"(?<=thread)\W{0,3}\d+",
            r"\btmp[a-z0-9_]{8}\b",
            r"\b\d+(?:\.\d+)?\s?(?:ns|us|\u00b5s|ms|s|sec|secs|seconds?|min|minutes?|h|hours?)\b",
            # Ports, threads, nanoseconds, measured values.
            r"\d+\.\d{4,}",
            r"\d{5,}",
        )
    ),
    re.IGNORECASE | re.ASCII,
)
_SET: Final = re.compile(r"\{([^{}:\n]+)\}")


def steady(text: str) -> str:
    """``text`` with ``#`` for what differs each time it is printed, and sets in the order of their items."""
    return _SET.sub(lambda match: "{" + ", ".join(sorted(match[1].split(", "))) + "}", _PASSING.sub("#", text))
