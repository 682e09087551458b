"""How many actions of rules led to a run: written into the ids of the runs that actions make."""

from __future__ import annotations

import re
from typing import Final

#: The CloudEvents extension by which a sender says how many actions lie behind its event.
HOPS_EXTENSION: Final = "mleventshops"
_RUN_ID: Final = re.compile(r"ml_events__hop([0-9]{1,6})__([0-9a-f-]{36})")


def run_id_of(hops: int, delivery_id: str) -> str:
    """The id of the run that a delivery triggers: the same at each try."""
    return f"ml_events__hop{hops}__{delivery_id}"


def read_run_id(run_id: str) -> tuple[int, str] | None:
    """The hops and the delivery that a run's id names, if it is such an id. Anybody may give a run such an id."""
    found = _RUN_ID.fullmatch(run_id)
    return None if found is None else (int(found[1]), found[2])
