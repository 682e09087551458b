"""What may be wrong with rules that can be read: they never match, say the same twice, name what is not there.

Each check gives remarks with a level, a stable code and a text that says what to do. Nothing here asks a database
or a clock: whoever calls says what there is around the rules.
"""

from __future__ import annotations

from ml_event_provider.rules.linting.linter import lint
from ml_event_provider.rules.linting.remarks import Level, Remark, Surroundings

__all__ = ["Level", "Remark", "Surroundings", "lint"]
