"""Threads for attempts: as many as are needed, none that waits for long, and none that holds up the end."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Job = TypeVar("Job")

#: A thread that nobody needed for so long ends, in seconds.
IDLE_SECONDS = 30.0


class Workers(Generic[Job]):
    """Does jobs, each in a thread of its own; ``work`` does one and gives the next, if there is one."""

    def __init__(self, work: Callable[[Job], Job | None], *, name: str) -> None:
        self._work = work
        self._name = name
        self._lock = threading.Lock()
        self._idle = 0
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def hand(self, job: Job) -> None:
        """Have a job done, by a thread that is idle or by a new one. How many there are is the caller's to bound."""
        with self._lock:
            idle = self._idle > 0
            if idle:
                self._idle -= 1
        if idle:
            self._jobs.put(job)
        else:
            threading.Thread(target=self._run, args=(job,), name=self._name, daemon=True).start()

    def _run(self, job: Job) -> None:
        while True:
            following: Job | None = job
            while following is not None:
                following = self._work(following)
            with self._lock:
                self._idle += 1
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                # A job was handed over at this very moment, to whoever takes it.
                job = self._jobs.get()
