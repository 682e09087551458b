"""What may stand behind a link or a button: an address on the web, whole, and nothing else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

#: Scheme and host, and nothing that cannot be seen or would end the address.
_WHOLE: Final = re.compile(r"https?://[^\s\x00-\x20\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+\Z", re.IGNORECASE)


@lru_cache(maxsize=1024)
def web_address(text: str) -> str:
    """``text`` if it is an absolute http(s) URL with a host, else nothing.

    Relative ones lead nowhere in a chat or mail, and chats refuse the whole message for them; ``javascript:``,
    ``data:`` and the like do harm; ``s3://`` opens nothing.
    """
    if not _WHOLE.match(text):
        return ""
    try:
        parts = urlsplit(text)
        # The port is checked when it is read.
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    return text if host else ""
