"""Reads request bodies, no further than the limit."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ValidationError

from ml_event_provider import config
from ml_event_provider.exceptions import InvalidEvent

Model = TypeVar("Model", bound=BaseModel)


async def limited_body(request: Request) -> bytes:
    """The body, read no further than the limit."""
    limit = config.max_body_bytes()
    too_large = HTTPException(413, detail=f"the body is larger than {limit} bytes: send smaller batches")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


#: A route's parameter: the whole body. Stands after the caller, so that nothing is read from strangers.
BodyDep = Annotated[bytes, Depends(limited_body)]


def parsed(model: type[Model], body: bytes) -> Model:
    """The body as ``model``.

    :raises InvalidEvent: naming the fields that are wrong.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors(include_url=False)
        )
        raise InvalidEvent(f"the request cannot be used: {problems}") from None
