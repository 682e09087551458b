"""Network errors in words, without anything of the request in them."""

from __future__ import annotations

import http.client
import os
import smtplib
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def explain(error: BaseException) -> tuple[str, str]:
    """A code (``"timeout"``, ``"DNS"``, …) and words for a network error."""
    chain = list(_chain(error))
    for kinds, code, words in _EXPLANATIONS:
        links = [link for link in chain if isinstance(link, kinds)]
        if links:
            detail = next(filter(None, map(_detail, links)), "")
            return code, f"{words}: {detail}" if detail else words
    return "network", type(error).__name__


#: The first line of which an error in the chain is an instance tells what happened.
_EXPLANATIONS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((socket.gaierror,), "DNS", "the host name cannot be resolved"),
    ((ssl.SSLError,), "TLS", "no secure connection"),
    ((ConnectionRefusedError,), "connection refused", "nothing listens there"),
    ((TimeoutError,), "timeout", "no complete answer within the time allowed"),
    (
        (
            ConnectionError,
            smtplib.SMTPServerDisconnected,
            http.client.RemoteDisconnected,
            http.client.IncompleteRead,
        ),
        "reset",
        "the server closed the connection before its answer was complete",
    ),
    ((http.client.HTTPException,), "protocol", "the answer is not HTTP"),
    ((OSError,), "unreachable", "no connection"),
)


def _detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "")
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} does not exist"
    if isinstance(error, OSError) and type(error) is OSError and error.errno:
        return os.strerror(error.errno)
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it, each once."""
    waiting, seen = [error], set()
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        causes = (*link.args, link.__cause__, link.__context__)
        waiting.extend(cause for cause in causes if isinstance(cause, BaseException))
