"""What can be said about an event pattern without any event: contradictions, unknown names, overlaps."""

from __future__ import annotations

from ml_event_provider.rules.analysis.contradiction import always_matches, never_matches
from ml_event_provider.rules.analysis.names import Problem, allowed_types, unknown_names
from ml_event_provider.rules.analysis.overlap import Relation, relation
from ml_event_provider.rules.analysis.partial import UNKNOWN, may_match
from ml_event_provider.rules.analysis.witness import witness

__all__ = [
    "UNKNOWN",
    "Problem",
    "Relation",
    "allowed_types",
    "always_matches",
    "may_match",
    "never_matches",
    "relation",
    "unknown_names",
    "witness",
]
