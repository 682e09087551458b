"""All errors of this package. Each message says what was wrong, where, and what to do."""

from __future__ import annotations


class MlEventError(Exception):
    """The root of all errors that this package raises on purpose."""


class InvalidEvent(MlEventError, ValueError):
    """An event breaks CloudEvents 1.0, its type's data model or a size limit."""


class InvalidRule(MlEventError, ValueError):
    """A rule cannot be used; the message names file, line and field."""


class TemplateProblem(MlEventError, ValueError):
    """A template cannot be found, parsed or rendered within its limits."""


class LimitReached(TemplateProblem):
    """A template wants more time, room or steps than one may have."""


class HandOverError(MlEventError, RuntimeError):
    """Events could not be handed over to the ingest endpoint within the time allowed."""


class Unauthorized(HandOverError):
    """The ingest endpoint does not know the caller: wrong token, user or password."""


class EndpointFailed(HandOverError):
    """The ingest endpoint failed at these events; it may take others."""


class EventRejected(HandOverError):
    """The ingest endpoint refused the events for good; sending them again cannot succeed."""


class ForbiddenAddress(MlEventError, ValueError):
    """A target's URL leads to an internal address that ``[ml_events] allowed_hosts`` does not name."""


class UnknownTarget(MlEventError, LookupError):
    """No target serves the connection, or the connection does not exist."""


class LookUpFailed(MlEventError, RuntimeError):
    """Whether a connection exists cannot be said at present."""


class RegistryError(MlEventError, RuntimeError):
    """A model registry could not be read, or answered something that cannot be understood."""


class NotFound(MlEventError, LookupError):
    """An event, rule or delivery with that name does not exist."""


class WrongTables(MlEventError, RuntimeError):
    """The tables in the database are missing, or are those of another version of this package."""
