"""What matching one event may cost, in steps: one is a value that is looked at, or two places that are put together.

Steps, not time: an event that is too costly is so on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ml_event_provider.rules.patterns.values import Constant

if TYPE_CHECKING:
    from ml_event_provider.rules.patterns.alternatives import Known

#: For all rules together, and for one alternative of one rule.
MOST_STEPS: Final = 2_000_000
MOST_OF_ONE: Final = 400_000

_LEFT: Final = Constant("steps left")
_LEFT_OF_ONE: Final = Constant("steps left of one")


class TooCostly(Exception):
    """An alternative would take more steps than are left."""


def begin(known: Known) -> None:
    """The next alternative has steps of its own."""
    known[_LEFT_OF_ONE] = MOST_OF_ONE


def spend(known: Known, steps: int) -> None:
    """Count some steps.

    :raises TooCostly: if there are not so many left. What comes after may need fewer.
    """
    left, of_one = known.get(_LEFT, MOST_STEPS), known.get(_LEFT_OF_ONE, MOST_OF_ONE)
    if steps > left or steps > of_one:
        raise TooCostly
    known[_LEFT], known[_LEFT_OF_ONE] = left - steps, of_one - steps
