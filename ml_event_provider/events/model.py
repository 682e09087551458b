"""The event: a CloudEvents 1.0 record with this package's extensions, and nothing that needs Airflow."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.events.strict_json import encodable, parse_json, shown
from ml_event_provider.events.times import checked_time, parse_time
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
        "dispatcher",
        "callback",
        "ingest",
    }
)

#: The longest that each text attribute may be, in characters (the store's columns).
MAX_LENGTH: Final = {
    "id": 255,
    "source": 512,
    "type": 255,
    "subject": 1024,
    "workspace": 100,
    "owner": 500,
    "dataschema": 1024,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One state change.

    ``id`` and ``source`` together identify the change (CloudEvents 1.0, section "Required attributes");
    ``time`` is an aware UTC datetime of the years 1970 to 2999; ``data`` is JSON: the type's model in
    ``events.catalogue``.
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
        for name, limit in MAX_LENGTH.items():
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InvalidEvent(f"event attribute {name!r} must be a text, not {type(value).__name__}")
            if not value and name in _NEVER_EMPTY:
                raise InvalidEvent(f"event attribute {name!r} is empty; CloudEvents 1.0 wants a text")
            if len(value) > limit:
                raise InvalidEvent(f"event attribute {name!r} has {len(value)} characters; {limit} are allowed")
            _check_characters(f"event attribute {name!r}", value)
        if not isinstance(self.time, datetime):
            raise InvalidEvent(f"event attribute 'time' must be a datetime, not {type(self.time).__name__}")
        object.__setattr__(self, "time", checked_time(self.time, self.time.isoformat()))
        if not isinstance(self.origin, str) or self.origin not in ORIGINS:
            raise InvalidEvent(f"event attribute 'origin' is {shown(self.origin)}; it is one of {sorted(ORIGINS)}")
        for name, value in self.extensions.items():
            _check_extension(name, value)

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
        """The event as one line of JSON.

        Half a surrogate pair, which UTF-8 cannot carry (a traceback may hold one), becomes U+FFFD.

        :raises InvalidEvent: if ``data`` holds what JSON does not have: NaN, infinity, other types.
        """
        try:
            text = json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidEvent(f"event {self.id!r} of type {self.type!r} cannot be JSON: {error}") from None
        return encodable(text)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Event:
        """Read CloudEvents' JSON format.

        :raises InvalidEvent: if an attribute is missing, of the wrong type or out of bounds.
        """
        version = document.get("specversion")
        if version != SPEC_VERSION:
            raise InvalidEvent(f"specversion is {shown(version)}; only {SPEC_VERSION!r} is understood")
        known: dict[str, Any] = {}
        extensions: dict[str, Any] = {}
        for name, value in document.items():
            if name in {"specversion", "datacontenttype", "data", "time"} or value is None:
                continue
            if name in _TEXT_ATTRIBUTES:
                known[name] = value
            elif name == "data_base64":
                raise InvalidEvent("data_base64 is not supported: send JSON in 'data'")
            else:
                extensions[name] = value
        content_type = document.get("datacontenttype")
        if content_type is not None and not is_json_type(content_type):
            raise InvalidEvent(f"datacontenttype is {shown(content_type)}; only JSON data is understood")
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
        document = parse_json(text)
        if not isinstance(document, dict):
            raise InvalidEvent(f"an event is a JSON object, not {type(document).__name__}")
        return cls.from_dict(document)

    def with_data(self, data: Mapping[str, Any]) -> Event:
        """The same event with other data."""
        return replace(self, data=data)


_NEVER_EMPTY: Final = frozenset({"id", "source", "type", "workspace"})
_TEXT_ATTRIBUTES: Final = frozenset({"id", "source", "type", "subject", "workspace", "owner", "origin", "dataschema"})
_RESERVED: Final = _TEXT_ATTRIBUTES | {"specversion", "datacontenttype", "data", "time"}
_EXTENSION_NAME = re.compile(r"[a-z0-9]{1,64}")
_JSON_TYPE = re.compile(r"[\w.+-]+/(json|[\w.-]+\+json)\s*(;.*)?", re.IGNORECASE | re.ASCII)
#: What CloudEvents 1.0 forbids in a String: control characters, surrogates, Unicode noncharacters.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)


def _check_characters(what: str, value: str) -> None:
    # What is printable holds none of them, and that is quickly told.
    if not value.isprintable() and _FORBIDDEN.search(value):
        raise InvalidEvent(f"{what} holds a control character or another that CloudEvents forbids: {shown(value)}")


def attribute_text(name: str, text: str) -> str:
    """``text`` as the attribute ``name`` may hold it: cut, and U+FFFD for each forbidden character."""
    return _FORBIDDEN.sub("\ufffd", text[: MAX_LENGTH[name]])


def _check_extension(name: object, value: object) -> None:
    """CloudEvents 1.0, sections "Naming conventions" and "Type system"."""
    if not isinstance(name, str) or not _EXTENSION_NAME.fullmatch(name):
        raise InvalidEvent(f"{shown(name)} is no CloudEvents attribute name: use 1 to 64 lower-case letters and digits")
    if name in _RESERVED:
        raise InvalidEvent(f"{name!r} is an attribute of its own and cannot be an extension")
    if isinstance(value, str):
        _check_characters(f"extension {name!r}", value)
    elif not isinstance(value, int):
        raise InvalidEvent(f"extension {name!r} must be a text, whole number or boolean, not {type(value).__name__}")
    elif not -(2**31) <= value < 2**31:
        raise InvalidEvent(f"extension {name!r} is out of range: a CloudEvents Integer has 32 bits")


def is_json_type(content_type: object) -> bool:
    """Whether a media type, perhaps with parameters, is JSON (RFC 6839: ``*/json`` or ``*/*+json``)."""
    return isinstance(content_type, str) and _JSON_TYPE.fullmatch(content_type.strip()) is not None
