"""Mishaps at random moments: dispatchers are killed, frozen and started with wrong clocks; the database crashes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from soak.dispatchers import CLOCKS, signal_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from soak.dispatchers import Forker

DISPATCHERS = 3
#: The longest that a dispatcher stays frozen, in seconds.
FROZEN_SECONDS = 25.0


class Chaos(threading.Thread):
    """Keeps ``DISPATCHERS`` alive, more or less, until :meth:`stop`.

    :param seed: the same seed gives the same mishaps at the same moments.
    :param calm: start the dispatchers and leave them alone.
    """

    def __init__(
        self, forkers: Mapping[str, Forker], crash: Callable[[], None], *, seconds: float, seed: int, calm: bool
    ) -> None:
        super().__init__(name="chaos", daemon=True)
        self._forkers = forkers
        self._crash = crash
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self._alive: list[int] = []
        self._frozen: list[tuple[float, int]] = []
        self._schedule = [] if calm else self._mishaps(seconds)
        self.happened: Counter[str] = Counter()
        self.failed: BaseException | None = None

    def _mishaps(self, seconds: float) -> list[tuple[float, str, float]]:
        """Moments (seconds from the start), what happens then, and a random number for it."""
        moments: list[tuple[float, str, float]] = []
        moment = 3.0
        while moment < seconds:
            what = self._chance.choices(("kill", "freeze"), (3, 1))[0]
            moments.append((moment, what, self._chance.random()))
            moment += self._chance.uniform(3.0, 9.0)
        moments += [(seconds * part, "crash the database", 0.0) for part in (0.35, 0.7)]
        return sorted(moments)

    def run(self) -> None:
        """Do what the schedule says."""
        try:
            started = time.monotonic()
            for number in range(DISPATCHERS):
                self._fork(list(CLOCKS)[number % len(CLOCKS)])
            while not self._stopping.wait(0.1):
                now = time.monotonic()
                self._thaw(now)
                while self._schedule and self._schedule[0][0] <= now - started:
                    _, what, chance = self._schedule.pop(0)
                    self._happen(what, chance, now)
        except BaseException as error:  # noqa: BLE001 - told by whoever started us
            self.failed = error

    def _happen(self, what: str, chance: float, now: float) -> None:
        self.happened[what] += 1
        if what == "crash the database":
            self._crash()
            return
        frozen = {pid for _, pid in self._frozen}
        waking = [pid for pid in self._alive if pid not in frozen]
        if not waking:
            return
        victim = waking[int(chance * len(waking))]
        if what == "freeze":
            os.kill(victim, signal.SIGSTOP)
            self._frozen.append((now + 2 + chance * (FROZEN_SECONDS - 2), victim))
            return
        os.kill(victim, signal.SIGKILL)
        self._alive.remove(victim)
        self._fork(list(CLOCKS)[int(chance * 97) % len(CLOCKS)])

    def _fork(self, clock: str) -> None:
        self.happened[f"started with a clock {clock}"] += 1
        self._alive.append(self._forkers[clock].fork())

    def _thaw(self, now: float) -> None:
        for until, pid in [one for one in self._frozen if one[0] <= now]:
            self._frozen.remove((until, pid))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def calm_down(self) -> None:
        """No more mishaps; the frozen go on."""
        self._schedule.clear()
        signal_all([pid for _, pid in self._frozen], signal.SIGCONT)

    def stop(self) -> None:
        """End all dispatchers."""
        self._stopping.set()
        self.join()
        signal_all(self._alive, signal.SIGCONT)
        signal_all(self._alive, signal.SIGTERM)
