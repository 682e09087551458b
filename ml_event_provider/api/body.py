"""Reads request bodies, no further than the limit."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from ml_event_provider import config
from ml_event_provider.events.model import is_json_type
from ml_event_provider.events.strict_json import parse_json
from ml_event_provider.exceptions import InvalidEvent

Model = TypeVar("Model", bound=BaseModel)


async def limited_body(request: Request) -> bytes:
    """The body, read no further than the limit; 415 for one that does not say that it is JSON."""
    length = request.headers.get("content-length", "")
    content_type = request.headers.get("content-type", "")
    if (length not in {"", "0"} or "transfer-encoding" in request.headers) and not is_json_type(content_type):
        raise HTTPException(
            415,
            detail=f"Content-Type is {content_type[:100]!r}: send JSON with Content-Type: application/json, or a"
            " CloudEvent with application/cloudevents+json",
        )
    limit = config.max_body_bytes()
    too_large = HTTPException(413, detail=f"the body is larger than {limit} bytes: send smaller batches")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            chunks.append(chunk)
    except ClientDisconnect:
        raise HTTPException(400, detail="the body was not sent to its end") from None
    return b"".join(chunks)


#: A route's parameter: the whole body. Stands after the caller, so that nothing is read from strangers.
BodyDep = Annotated[bytes, Depends(limited_body)]


def parsed(model: type[Model], body: bytes) -> Model:
    """The body as ``model``.

    :raises InvalidEvent: if the body is not JSON that every reader understands alike, or naming the fields that are
        wrong.
    """
    try:
        return model.model_validate(parse_json(body))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors(include_url=False)
        )
        raise InvalidEvent(f"the request cannot be used: {problems}") from None
