"""Who runs a command."""

from __future__ import annotations

import getpass

from ml_event_provider.exceptions import NotFound


def user() -> str:
    """The name of the operating system's user; empty where there is none, as for a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def person(given: str) -> str:
    """The name that was given, or the user's.

    :raises NotFound: if there is neither.
    """
    who = given.strip() or user()
    if not who:
        raise NotFound("the operating system has no name for this user: say who you are with --by")
    return who
