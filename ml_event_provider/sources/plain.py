"""Values of any library as bounded, plain JSON: NumPy scalars, NaN, pandas' missing values."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from ml_event_provider.events.bounds import cut

#: The longest text, list and nesting of a value.
MAX_TEXT = 500
MAX_ITEMS = 20
MAX_DEPTH = 4


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """``value`` as bounded, plain JSON; NaN, infinite and missing values are ``None``."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, str):
        return cut(str(value), MAX_TEXT)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    # pandas' NaT is a datetime that differs from itself; pandas' NA refuses to be compared.
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict | list | tuple | set | frozenset) and depth <= 0:
        return cut(str(value), MAX_TEXT)
    if isinstance(value, dict):
        pairs = list(value.items())[:MAX_ITEMS]
        return {cut(str(key), MAX_TEXT): plain(item, depth - 1) for key, item in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth - 1) for item in list(value)[:MAX_ITEMS]]
    for unpack in ("item", "tolist"):  # NumPy's scalars have both, its arrays need the second.
        method = getattr(value, unpack, None)
        if callable(method) and (unpack == "tolist" or getattr(value, "ndim", None) == 0):
            unpacked = method()
            return plain(unpacked, depth) if type(unpacked) is not type(value) else cut(str(value), MAX_TEXT)
    return cut(str(value), MAX_TEXT)


def named(value: Any) -> Any:
    """Plain JSON as an identity holds it: numbers by six digits, since their last ones differ when measured again."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return {key: named(item) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item) for item in value]
    return value


def joined(values: Any) -> str:
    """The texts that are there, each once, with commas between."""
    present = dict.fromkeys(str(value) for value in values if value not in (None, ""))
    return cut(", ".join(present), MAX_TEXT)
