"""Conditions on names that a person may give, one or several: ``""`` and nothing at all ask for everything."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, or_, true

#: One name, several, or everything.
Names = str | Collection[str]


def chosen(column: Any, names: Names) -> ColumnElement[bool]:
    """Whether the column holds one of the names."""
    wanted = _wanted(names)
    return column.in_(wanted) if wanted else true()


def begins(column: Any, names: Names) -> ColumnElement[bool]:
    """Whether the column's text begins with one of the names."""
    wanted = _wanted(names)
    return or_(*(column.startswith(name, autoescape=True) for name in wanted)) if wanted else true()


def _wanted(names: Names) -> list[str]:
    return [name for name in ([names] if isinstance(names, str) else names) if name]
