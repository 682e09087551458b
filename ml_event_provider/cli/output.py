"""Prints tables for people and JSON for programs, and turns our errors into one line and exit code 1."""

from __future__ import annotations

import json
import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import MlEventError
from ml_event_provider.store.engine import tables_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


def command(function: Callable[[Any], int | None]) -> Callable[[Any], None]:
    """A command: reads and writes as a server process, prints our errors without a traceback."""

    @wraps(function)
    def run(args: Any) -> None:
        # Without this, connections are looked up as if in a task process: environment variables only.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        try:
            code = function(args)
        except MlEventError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        except Exception as error:
            if not tables_missing(error):
                raise
            print("error: the ml_event_ tables do not exist: run `airflow db migrate`", file=sys.stderr)
            raise SystemExit(1) from None
        if code:
            raise SystemExit(code)

    return run


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], output: str, *, empty: str) -> None:
    """Print rows as a table with ``columns``, or whole as JSON."""
    rows = list(rows)
    if output == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
        return
    if not rows:
        print(empty)
        return
    texts = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in texts)) for i, column in enumerate(columns)]
    for line in [[column.upper() for column in columns], *texts]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
