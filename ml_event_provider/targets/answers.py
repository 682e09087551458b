"""What all targets do with an answer: one table of HTTP statuses, one way to be unusable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.targets.model import Result
from ml_event_provider.targets.network import origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml_event_provider.connection import Connection
    from ml_event_provider.targets.network import Answer
    from ml_event_provider.targets.secrets import Mask

#: The longest wait that a remote may ask for, in seconds.
LONGEST_WAIT: Final = 86_400.0
#: Worth another try, besides all of 5xx: time-out, too early (RFC 8470), too many requests.
RETRIED: Final = frozenset({408, 425, 429})


class UnusableError(ValueError):
    """A connection, rule option or message cannot be sent as it is; the text says what to change."""


def outcome_of(answer: Answer, now: Callable[[], float]) -> Result:
    """The result that an HTTP status means, the same for all targets.

    2xx is delivered; 408, 425, 429 and 5xx are worth another try, after ``Retry-After`` if it is given; all
    else is final: 3xx too, since redirects could lead a signed message anywhere, and 410, by which Standard
    Webhooks end a subscription.

    :param now: the time in seconds since 1970, for a ``Retry-After`` that is a date.
    """
    status, code = answer.status, f"HTTP {answer.status}"
    words = answer.words or _phrase(status)
    if 200 <= status < 300:
        return Result.delivered(code, words)
    if status in RETRIED or status >= 500:
        return Result.retry(code, words, retry_after(answer, now))
    if 300 <= status < 400:
        place = origin(answer.headers.get("location", ""))
        return Result.refused(code, f"redirects are not followed; this leads to {place}: correct the URL")
    return Result.refused(code, words)


def retry_after(answer: Answer, now: Callable[[], float]) -> float | None:
    """The wait in seconds that ``Retry-After`` asks for, as seconds or as a date (RFC 9110, 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        if text.isdigit():  # noqa: SIM108 - two formats, two lines
            seconds = float(text)
        else:
            # An HTTP-date is in GMT, whether it says so or not.
            seconds = parsedate_to_datetime(text).replace(tzinfo=UTC).timestamp() - now()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def told(connection: Connection, mask: Mask, attempt: Callable[[], Result]) -> Result:
    """Run one attempt; an unusable connection is a result too, and no result holds a secret."""
    try:
        result = attempt()
    except UnusableError as error:
        result = Result.refused("unusable", f"connection {connection.conn_id!r}: {error}")
    # Codes are statuses, or words that were masked when they were read.
    masked: dict[str, Any] = {"reason": mask(result.reason)}
    if result.recipients:
        masked["recipients"] = {name: mask(words) for name, words in result.recipients.items()}
    return replace(result, **masked)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
