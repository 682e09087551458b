from __future__ import annotations

from tests.unit.drift.checkpoints import inbox

__all__ = ["inbox"]
