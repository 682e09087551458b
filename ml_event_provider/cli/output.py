"""Prints tables for people and JSON for programs, and turns our errors into one line and exit code 1."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import MlEventError
from ml_event_provider.store.failures import in_words
from ml_event_provider.troubles import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


log = logging.getLogger(__name__)

#: The widest cell of a table, in characters, and the columns that are never cut.
WIDEST = 80
NAMES = ("id", "name", "rule", "target", "workspace")
#: Exit codes of a command that was interrupted, or whose reader went away: as a shell tells of SIGINT and SIGPIPE.
INTERRUPTED, READER_GONE = 130, 141


def command(function: Callable[[Any], int | None]) -> Callable[[Any], None]:
    """A command: reads and writes as a server process; what goes wrong is one line and exit code 1."""

    @wraps(function)
    def run(args: Any) -> None:
        # Without this, connections are looked up as if in a task process: environment variables only.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            code = function(args)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read has enough, like `head`. What is left goes nowhere, or Python complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(READER_GONE) from None
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            said = _said(error)
            if not said:
                raise
            log.debug("the command failed", exc_info=True)
            print(f"error: {said}", file=sys.stderr)
            raise SystemExit(1) from None
        if code:
            raise SystemExit(code)

    return run


def _said(error: Exception) -> str:
    """What the error says to a person; empty if it is a fault of ours, whose traceback is wanted."""
    if isinstance(error, MlEventError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else first_line(error)
    return in_words(error)


def warn_of_missing(connections: Mapping[str, Sequence[str]]) -> None:
    """Say which connections are not to be seen from here, and which rules name them."""
    for conn_id, rules in connections.items():
        more = f" and {len(rules) - 3} more" if len(rules) > 3 else ""
        print(
            f"warning: connection {conn_id!r} is neither in Airflow's table nor in this environment (rules:"
            f" {', '.join(rules[:3])}{more}): create it, unless a secrets backend has it",
            file=sys.stderr,
        )


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], output: str, *, empty: str) -> None:
    """Print rows as a table with ``columns``, or whole as JSON.

    Long cells are cut, but for names, which other commands take, and the last column, which says what to do.
    """
    rows = list(rows)
    if output == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
        return
    if not rows:
        print(empty)
        return
    texts = [[_cell(row.get(column), whole=column in (columns[-1], *NAMES)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in texts)) for i, column in enumerate(columns)]
    for line in [[column.upper() for column in columns], *texts]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any, *, whole: bool) -> str:
    if value is None:
        return "-"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    text = " ".join(str(value).split())
    return text if whole or len(text) <= WIDEST else text[: WIDEST - 1] + "…"
