"""Processes whose clocks are wrong, by libfaketime (Debian's package ``libfaketime``)."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: Where this is set, a test that needs the library fails without it instead of being skipped.
NEEDED: Final = "ML_EVENTS_TESTS_NEED_FAKETIME"


def libfaketime() -> str:
    """The library's path; without it the test is skipped, or fails where it may not be."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        missing = "libfaketime is not installed: apt-get install libfaketime"
        if os.environ.get(NEEDED):
            pytest.fail(missing)
        pytest.skip(missing)
    return found[0]


class Clock:
    """A clock that the test sets wrong, for the processes that are given its environment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0s")

    def set(self, offset: str) -> None:
        """Let the clock jump: ``+1d``, ``-120s``."""
        beside = self._file.with_suffix(".new")
        beside.write_text(offset + "\n")
        beside.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to go by this clock; its monotonic clock stays right."""
        return {
            "LD_PRELOAD": libfaketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else each timed wait of a thread ends at once, and threads that wait for the interpreter only spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }
