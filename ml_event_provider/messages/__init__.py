"""Messages: what an event says to people, in the dialect and within the limits of each channel."""

from ml_event_provider.messages.renderer import Rendered, Renderer

__all__ = ["Rendered", "Renderer"]
