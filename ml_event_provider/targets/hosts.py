"""Host names as the network has them: IDNA 2008 (RFC 5891) after the mapping of UTS 46, never IDNA 2003.

By IDNA 2003, which Python's codec and resolver follow, ``straße.de`` becomes ``strasse.de``: the domain of somebody
else. So each name passes through here before anything else sees it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import idna

#: Names in ASCII are left as they are but for case. Underscores are no letters of host names, but of service names.
_ASCII_NAME: Final = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_ADDRESS: Final = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*(?:%[\w.~-]+)?", re.ASCII)


@lru_cache(maxsize=1024)
def ascii_host(name: str) -> str:
    """A host's name in lower-case ASCII; addresses, and a dot at the end, stay.

    :raises ValueError: if it can be no host's name; says why.
    """
    if name.isascii():
        lowered = name.lower()
        if _ASCII_NAME.fullmatch(lowered) or _ADDRESS.fullmatch(lowered):
            return lowered
        raise ValueError(f"{name!r} is no host name")
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{name!r} is no host name: {error}") from None
