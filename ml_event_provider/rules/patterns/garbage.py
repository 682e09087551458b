"""The search for cyclic garbage, paused while very many objects are made of which none is."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: From so many rules on it is worth it: Python looks at all new objects again and again, which takes longer than to
#: make them.
MANY: Final = 500


@contextmanager
def search_paused(rules: int) -> Iterator[None]:
    """Let Python not search for garbage meanwhile, in any thread, if there are many rules."""
    pauses = rules >= MANY and gc.isenabled()
    if pauses:
        gc.disable()
    try:
        yield
    finally:
        if pauses:
            if not gc.get_freeze_count():
                # All that is new counts as old: the next search need not look at it.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
