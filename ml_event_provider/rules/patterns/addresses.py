"""IP addresses as numbers."""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct
from typing import Final

#: How many bits an address of each IP version has.
BITS: Final = {4: 32, 6: 128}

_NUMBER: Final = Struct(">I").unpack
_V4 = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)", re.ASCII)
_V6 = re.compile(r"[0-9a-fA-F:]{2,45}", re.ASCII)


def address(text: str) -> tuple[int, int] | None:
    """``(version, number)`` of an IP address, or ``None``.

    IPv4 parts are decimal, zeros before them count nothing.
    """
    # It begins with a digit.
    if "0" <= text < ":":
        try:
            return 4, _NUMBER(inet_pton(AF_INET, text))[0]
        except (OSError, ValueError):
            if ":" not in text:
                return _with_zeros(text)
    if ":" in text and _V6.fullmatch(text):
        try:
            return 6, int.from_bytes(inet_pton(AF_INET6, text), "big")
        except OSError:
            return None
    return None


def _with_zeros(text: str) -> tuple[int, int] | None:
    """An IPv4 address with zeros before its parts."""
    found = _V4.fullmatch(text) if len(text) <= 45 else None
    if found is None:
        return None
    first, second, third, last = map(int, found.groups())
    if first > 255 or second > 255 or third > 255 or last > 255:
        return None
    return 4, (first << 24) | (second << 16) | (third << 8) | last
