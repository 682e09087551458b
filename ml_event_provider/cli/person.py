"""Who runs a command."""

from __future__ import annotations

import getpass

from ml_event_provider.exceptions import NotFound


def person(given: str) -> str:
    """The name that was given, or the user's of the operating system.

    :raises NotFound: if there is neither.
    """
    if given.strip():
        return given.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise NotFound("the operating system has no name for this user: say who you are with --by") from None
