"""Targets: where notifications go. One module a protocol; found through ``hookspecs``."""

from ml_event_provider.targets.model import Capabilities, Message, Outcome, Result, Target

__all__ = ["Capabilities", "Message", "Outcome", "Result", "Target"]
