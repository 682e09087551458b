"""Which delivery is sent next: fair between targets, whatever becomes of some of them. Pure: no thread, no database.

Attempts of quick targets, of unknown ones, of slow ones and of those that do not answer have budgets of their own.
An attempt that takes long stops counting against the quick ones' budget, so that a target that begins to hang holds
the others up for a moment only. Messages for targets that are not known to be quick are made one after the other: a
hundred would take the processor from the quick ones'.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from ml_event_provider.store.breakers import FAILURES
from ml_event_provider.store.schema import Breaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ml_event_provider.store.deliveries import Delivery
    from ml_event_provider.store.leases import DueLane
    from ml_event_provider.store.settlements import Settlement

#: An attempt that is under way for longer does not count against the quick ones' budget any more, in seconds; nor
#: among those whose messages are being made.
YOUNG_SECONDS = 0.25
#: How many messages are made at the same time for targets that are not known to be quick.
MADE_AT_ONCE = 1
#: A target whose attempt takes longer is slow, in seconds.
SLOW_SECONDS = 1.0
#: All attempts under way, and those of slow targets, and of targets that do not answer, for each send worker.
MOST, MOST_SLOW, MOST_STUCK = 8, 4, 2
#: Deliveries leased ahead in all, and of one round's quick targets together, for each send worker.
MOST_HELD, AHEAD = 40, 20
#: How often it is noted that a target took something, in seconds.
NOTE_SECONDS = 10.0


class Pace(Enum):
    """What to expect of a target."""

    UNKNOWN = "unknown"
    QUICK = "quick"
    #: It takes long, and answers.
    SLOW = "slow"
    #: It did not answer lately.
    STUCK = "stuck"


@dataclass(slots=True, eq=False)
class Lane:
    """One lane as this process sees it."""

    id: int
    pace: Pace
    queue: deque[Delivery] = field(default_factory=deque)
    #: When each attempt that is under way began, oldest first.
    running: dict[str, float] = field(default_factory=dict)
    #: Ended, but not yet in the store.
    unsettled: int = 0
    #: Failures in a row; so many that the breaker opens halt the lane until the store has said so.
    failures: int = 0
    halted: bool = False
    #: Whether more was due than was leased; how short the queue may get before more is leased.
    more: bool = False
    low: int = 0
    #: What the store knows: no failure lately, slow or not; when a success was last noted there.
    clean: bool = True
    slow: bool = False
    noted_at: float = float("-inf")

    @property
    def idle(self) -> bool:
        """Whether nothing of it is queued or under way."""
        return not self.queue and not self.running


class Lanes:
    """All lanes that this process has to do with. Not thread-safe: whoever uses it holds a lock.

    :param workers: attempts that quick targets make at the same time.
    :param clock: seconds, never going back.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._ready: deque[Lane] = deque()
        #: Attempts of quick targets that began a moment ago; all that are under way, by the budget that they began in.
        self._young: dict[str, float] = {}
        #: Attempts of others whose messages are being made, and since when.
        self._making: dict[str, float] = {}
        self._budget_of: dict[str, Pace] = {}
        self._used = dict.fromkeys(Pace, 0)
        self._queued = 0
        self._slow_share = MOST_SLOW * workers
        #: Whether a lane ran short of deliveries while more are due.
        self.hungry = False

    @property
    def queued(self) -> int:
        """How many deliveries wait to be sent."""
        return self._queued

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return len(self._budget_of)

    def shares(self, due: Sequence[DueLane]) -> tuple[dict[int, int], list[int]]:
        """How many to lease of each lane that is due, and which lanes to try with one, whose breaker is open."""
        now = self._clock()
        self.hungry = False
        for lane in self._lanes.values():
            lane.more = False
        seen = [(self._seen(one), one) for one in due]
        paces = {lane.id: self._pace(lane, now) for lane, _ in seen}
        quick = sum(1 for pace in paces.values() if pace is Pace.QUICK)
        slow = sum(1 for pace in paces.values() if pace is Pace.SLOW)
        ahead = max(2, AHEAD * self._workers // max(1, quick))
        self._slow_share = max(1, MOST_SLOW * self._workers // max(1, slow))
        room = MOST_HELD * self._workers - self._queued
        left = {pace: self._left(pace) - self._waiting(pace) for pace in Pace}
        shares: dict[int, int] = {}
        probes: list[int] = []
        for lane, one in seen:
            pace = paces[lane.id]
            if one.breaker != Breaker.CLOSED:
                if lane.idle and not lane.unsettled and left[Pace.STUCK] > 0:
                    left[Pace.STUCK] -= 1
                    probes.append(lane.id)
                continue
            want = 0 if lane.halted else self._want(lane, pace, ahead)
            if pace is not Pace.QUICK:
                want = min(want, left[pace])
                left[pace] -= max(want, 0)
            want = min(want, room)
            lane.low = ahead // 2 if pace is Pace.QUICK else 0
            # What is due and not leased is leased as soon as there is room.
            lane.more = want <= 0
            if want > 0:
                shares[lane.id] = want
                room -= want
        return shares, probes

    def _want(self, lane: Lane, pace: Pace, ahead: int) -> int:
        at_hand = len(lane.queue) + len(lane.running)
        if pace is Pace.QUICK:
            return ahead - len(lane.queue) if len(lane.queue) <= ahead // 2 else 0
        if pace is Pace.SLOW:
            return self._slow_share - at_hand
        return 1 - at_hand

    def put(self, leased: Iterable[Delivery], shares: dict[int, int]) -> None:
        """Take what was leased; a lane that gave all it was asked for may have more."""
        given: dict[int, int] = {}
        for delivery in leased:
            lane = self._lane(delivery.lane_id)
            if not lane.queue:
                self._ready.append(lane)
            lane.queue.append(delivery)
            self._queued += 1
            given[lane.id] = given.get(lane.id, 0) + 1
        for lane_id, share in shares.items():
            self._lane(lane_id).more = given.get(lane_id, 0) >= share

    def next(self) -> Delivery | None:
        """The next delivery that may be sent now; it counts as under way from here on."""
        now = self._clock()
        for young in (self._young, self._making):
            while young and next(iter(young.values())) < now - YOUNG_SECONDS:
                del young[next(iter(young))]
        for _ in range(len(self._ready)):
            if self.running >= MOST * self._workers:
                return None
            lane = self._ready.popleft()
            if not lane.queue:
                continue
            pace = self._pace(lane, now)
            if self._may(lane, pace):
                return self._start(lane, pace, now)
            self._ready.append(lane)
        return None

    def _may(self, lane: Lane, pace: Pace) -> bool:
        if lane.halted or self._left(pace) <= 0:
            return False
        if pace is Pace.QUICK:
            return len(lane.running) < max(1, self._workers * 3 // 4)
        if len(self._making) >= MADE_AT_ONCE:
            return False
        if pace is Pace.SLOW:
            return len(lane.running) < self._slow_share
        return not lane.running

    def _left(self, pace: Pace) -> int:
        """How many more attempts a budget has room for."""
        if pace is Pace.QUICK:
            return self._workers - len(self._young)
        others = (MOST - 1) * self._workers - (self.running - len(self._young))
        if pace is Pace.UNKNOWN:
            return others
        most = (MOST_SLOW if pace is Pace.SLOW else MOST_STUCK) * self._workers
        return min(others, most - self._used[pace])

    def _waiting(self, pace: Pace) -> int:
        if pace is Pace.QUICK:
            return 0
        return sum(len(lane.queue) for lane in self._ready if lane.pace is pace)

    def _start(self, lane: Lane, pace: Pace, now: float) -> Delivery:
        delivery = lane.queue.popleft()
        self._queued -= 1
        if lane.queue:
            self._ready.append(lane)
        if lane.more and len(lane.queue) <= lane.low:
            self.hungry = True
        lane.running[delivery.id] = now
        self._budget_of[delivery.id] = pace
        self._used[pace] += 1
        (self._young if pace is Pace.QUICK else self._making)[delivery.id] = now
        return delivery

    def made(self, delivery: Delivery) -> bool:
        """The message is made, and is sent now; say whether another's may be made in its place."""
        return self._making.pop(delivery.id, None) is not None

    def ended(self, delivery: Delivery, settlement: Settlement | None) -> None:
        """An attempt ended, or was not made (``None``)."""
        lane = self._lane(delivery.lane_id)
        began = lane.running.pop(delivery.id)
        self._young.pop(delivery.id, None)
        self._making.pop(delivery.id, None)
        self._used[self._budget_of.pop(delivery.id)] -= 1
        if lane.more and len(lane.queue) <= lane.low:
            self.hungry = True
        if settlement is None:
            return
        lane.unsettled += 1
        heard = settlement.heard
        if heard is None:
            return
        long = self._clock() - began >= SLOW_SECONDS
        lane.pace = (Pace.STUCK if heard.reached is False else Pace.SLOW) if long else Pace.QUICK
        if heard.reached is False:
            lane.failures += 1
            lane.halted = lane.failures >= FAILURES
        elif heard.reached:
            lane.failures = 0

    def settled(self, lane_ids: Iterable[int]) -> list[Delivery]:
        """The store knows of as many attempts; return what waits for targets that are not tried any more."""
        back: list[Delivery] = []
        for lane_id in lane_ids:
            lane = self._lane(lane_id)
            lane.unsettled -= 1
            if lane.halted:
                back += self._drop(lane)
        return back

    def worth_noting(self, settlement: Settlement, lane_id: int) -> bool:
        """Whether the store must hear what an attempt told of its target: not each time that all is well."""
        heard = settlement.heard
        if heard is None:
            return False
        lane, now = self._lane(lane_id), self._clock()
        if heard.delivered and lane.clean and heard.slow == lane.slow and now < lane.noted_at + NOTE_SECONDS:
            return False
        lane.noted_at = now if heard.delivered else lane.noted_at
        lane.clean = heard.reached is not False
        lane.slow = bool(heard.slow)
        return True

    def drop_all(self) -> list[Delivery]:
        """Take back all that waits."""
        return [one for lane in list(self._ready) for one in self._drop(lane)]

    def _drop(self, lane: Lane) -> list[Delivery]:
        dropped = list(lane.queue)
        if dropped:
            lane.queue.clear()
            self._ready.remove(lane)
        self._queued -= len(dropped)
        return dropped

    def _pace(self, lane: Lane, now: float) -> Pace:
        """What to expect of a target by what it did, and by what it is at."""
        if lane.pace is Pace.SLOW or not lane.running:
            return lane.pace
        oldest = next(iter(lane.running.values()))
        return Pace.STUCK if oldest <= now - SLOW_SECONDS else lane.pace

    def _lane(self, lane_id: int) -> Lane:
        lane = self._lanes.get(lane_id)
        if lane is None:
            lane = self._lanes[lane_id] = Lane(lane_id, Pace.UNKNOWN)
        return lane

    def _seen(self, one: DueLane) -> Lane:
        """The lane, with what the store knows of it."""
        lane = self._lanes.get(one.id)
        if lane is None:
            lane = self._lanes[one.id] = Lane(one.id, _first_sight(one))
        lane.clean = one.breaker == Breaker.CLOSED and one.failures == 0
        lane.slow = one.slow
        if not lane.unsettled and not lane.running:
            lane.failures, lane.halted = one.failures, False
        return lane


def _first_sight(one: DueLane) -> Pace:
    if one.slow:
        return Pace.STUCK if one.failures else Pace.SLOW
    return Pace.QUICK if one.delivered_at is not None and not one.failures else Pace.UNKNOWN
