"""Events: the CloudEvents record, its deterministic ids, the catalogue of types, sizes and wire formats."""

from ml_event_provider.events.model import Event

__all__ = ["Event"]
