"""What a check of health finds."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Finding(NamedTuple):
    """What one part looks like.

    ``problems`` and ``notices`` are sentences that name cause and remedy; with a problem the whole is unhealthy, a
    notice is worth knowing. ``numbers`` are what they were read off, for JSON.
    """

    problems: Sequence[str] = ()
    notices: Sequence[str] = ()
    numbers: Mapping[str, Any] = MappingProxyType({})
