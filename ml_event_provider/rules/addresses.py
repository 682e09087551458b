"""IP addresses as numbers."""

from __future__ import annotations

import re
from socket import AF_INET6, inet_pton
from typing import Final

#: How many bits an address of each IP version has.
BITS: Final = {4: 32, 6: 128}

_V4 = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)", re.ASCII)
_V6 = re.compile(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*", re.ASCII)


def address(text: str) -> tuple[int, int] | None:
    """``(version, number)`` of an IP address, or ``None``. IPv4 parts are decimal, zeros before them count nothing."""
    if len(text) > 45:
        return None
    found = _V4.fullmatch(text)
    if found:
        parts = [int(part) for part in found.groups()]
        if max(parts) > 255:
            return None
        return 4, (parts[0] << 24) | (parts[1] << 16) | (parts[2] << 8) | parts[3]
    if _V6.fullmatch(text):
        try:
            return 6, int.from_bytes(inet_pton(AF_INET6, text), "big")
        except OSError:
            return None
    return None
