"""The event: a CloudEvents 1.0 record with this package's extensions, and nothing that needs Airflow."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.exceptions import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEC_VERSION: Final = "1.0"

#: Where an event may have been seen first (the CloudEvents extension ``origin``).
ORIGINS: Final = frozenset(
    {
        "scheduler",
        "worker",
        "api-server",
        "dag-processor",
        "triggerer",
        "reconciler",
        "callback",
        "ingest",
    }
)

#: The longest that each text attribute may be, in characters (the store's columns).
MAX_LENGTH: Final = {"id": 255, "source": 512, "type": 255, "subject": 1024, "workspace": 100, "owner": 500}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One state change.

    ``id`` and ``source`` together identify the change (CloudEvents 1.0, section "Required attributes");
    ``time`` is an aware UTC datetime; ``data`` is JSON: the type's model in ``events.catalogue``.
    """

    id: str
    source: str
    type: str
    time: datetime
    subject: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    workspace: str = "default"
    owner: str = ""
    origin: str = "ingest"
    dataschema: str = ""
    extensions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("id", "source", "type", "workspace"):
            if not getattr(self, name):
                raise InvalidEvent(f"event attribute {name!r} is empty; CloudEvents 1.0 wants a text")
        for name, limit in MAX_LENGTH.items():
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InvalidEvent(f"event attribute {name!r} must be a text, not {type(value).__name__}")
            if len(value) > limit:
                raise InvalidEvent(f"event attribute {name!r} has {len(value)} characters; {limit} are allowed")
            if _CONTROL.search(value):
                raise InvalidEvent(f"event attribute {name!r} holds a control character: {value!r}")
        if self.time.tzinfo is None:
            raise InvalidEvent(f"event attribute 'time' has no time zone: {self.time.isoformat()}")
        if self.time.tzinfo is not UTC:
            object.__setattr__(self, "time", self.time.astimezone(UTC))
        if self.origin not in ORIGINS:
            raise InvalidEvent(f"event attribute 'origin' is {self.origin!r}; it is one of {sorted(ORIGINS)}")

    def to_dict(self) -> dict[str, Any]:
        """The event in CloudEvents' JSON format; the object that rules' patterns look at."""
        document: dict[str, Any] = {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "workspace": self.workspace,
            "origin": self.origin,
        }
        if self.subject:
            document["subject"] = self.subject
        if self.owner:
            document["owner"] = self.owner
        if self.dataschema:
            document["dataschema"] = self.dataschema
        document.update(self.extensions)
        document["data"] = self.data
        return document

    def to_json(self) -> str:
        """The event as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Event:
        """Read CloudEvents' JSON format.

        :raises InvalidEvent: if an attribute is missing, of the wrong type or out of bounds.
        """
        version = document.get("specversion")
        if version != SPEC_VERSION:
            raise InvalidEvent(f"specversion is {version!r}; only {SPEC_VERSION!r} is understood")
        known: dict[str, Any] = {}
        extensions: dict[str, Any] = {}
        for name, value in document.items():
            if name in {"specversion", "datacontenttype", "data", "time"} or value is None:
                continue
            if name in _TEXT_ATTRIBUTES:
                known[name] = value
            elif name == "data_base64":
                raise InvalidEvent("data_base64 is not supported: send JSON in 'data'")
            elif not _EXTENSION_NAME.fullmatch(name):
                raise InvalidEvent(f"{name!r} is no CloudEvents attribute name: use lower-case letters and digits")
            elif not isinstance(value, str | int | bool):
                raise InvalidEvent(f"extension {name!r} must be a text, whole number or boolean")
            else:
                extensions[name] = value
        content_type = document.get("datacontenttype", "application/json")
        if not isinstance(content_type, str) or not _JSON_TYPE.match(content_type):
            raise InvalidEvent(f"datacontenttype is {content_type!r}; only JSON data is understood")
        for name in ("id", "source", "type"):
            if name not in known:
                raise InvalidEvent(f"event attribute {name!r} is missing")
        data = document.get("data")
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise InvalidEvent(f"data must be a JSON object, not {type(data).__name__}")
        return cls(**known, time=parse_time(document.get("time")), data=data, extensions=extensions)

    @classmethod
    def from_json(cls, text: str | bytes) -> Event:
        """Read one event in CloudEvents' JSON format.

        :raises InvalidEvent: if the text is not JSON or not an event.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"event is not valid JSON: {error}") from None
        if not isinstance(document, dict):
            raise InvalidEvent(f"an event is a JSON object, not {type(document).__name__}")
        return cls.from_dict(document)

    def with_data(self, data: Mapping[str, Any]) -> Event:
        """The same event with other data."""
        return replace(self, data=data)


_TEXT_ATTRIBUTES: Final = frozenset(
    {"id", "source", "type", "subject", "workspace", "owner", "origin", "dataschema"}
)
_EXTENSION_NAME = re.compile(r"[a-z0-9]{1,64}")
_JSON_TYPE = re.compile(r"^[\w.+-]+/(json|[\w.-]+\+json)\s*(;.*)?$", re.IGNORECASE)


def parse_time(value: object) -> datetime:
    """An RFC 3339 time as an aware UTC datetime; a missing one is the present moment.

    :raises InvalidEvent: if the value is no RFC 3339 time with a zone.
    """
    if value is None:
        return datetime.now(UTC)
    if not isinstance(value, str):
        raise InvalidEvent(f"event attribute 'time' must be an RFC 3339 text, not {type(value).__name__}")
    # Python reads at most six fractional digits; some senders give nine.
    text = re.sub(r"(\.\d{6})\d+", r"\1", value.strip())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(f"event attribute 'time' is {value!r}, no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise InvalidEvent(f"event attribute 'time' is {value!r}: the time zone is missing")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent(f"event attribute 'time' is {value!r}, out of range") from None
