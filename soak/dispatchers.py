"""Dispatchers with right and wrong clocks, quickly started: one process a clock imports all, then forks them."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path

#: By how much the clocks are wrong, as libfaketime writes it.
CLOCKS: Final = {"right": "", "a day ahead": "+1d", "two minutes behind": "-120s"}


def libfaketime() -> str:
    """The path of the library that makes clocks wrong.

    :raises SystemExit: if it is not installed.
    """
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        raise SystemExit("libfaketime is missing: apt-get install libfaketime")
    return found[0]


class Forker:
    """Forks dispatchers whose clock is wrong by ``offset``."""

    def __init__(self, environment: Mapping[str, str], offset: str, log: Path) -> None:
        more = {}
        if offset:
            more = {"LD_PRELOAD": libfaketime(), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            more["FAKETIME_FORCE_MONOTONIC_FIX"] = "0"  # else its threads spin, as do the rest of the machine
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "soak.fork", str(log)],
            env={**environment, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._line("ready")

    def fork(self) -> int:
        """Start a dispatcher and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return int(self._line(""))

    def close(self) -> None:
        """End the forking process; its dispatchers end by themselves or are killed before."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._log.close()

    def _line(self, wanted: str) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.strip() == wanted or (not wanted and line.strip().isdigit()):
                return line.strip()
        raise SystemExit(f"a dispatcher's parent ended; see {self._log.name}")


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
