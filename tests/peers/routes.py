"""The routes of a FastAPI app, whichever FastAPI it is: newer ones keep included routers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.routing import BaseRoute, Router


def routes_of(app: Router) -> Iterator[APIRoute]:
    """Each route of an app or router, with those that it includes.

    :raises AssertionError: for a route that is none of FastAPI's: it would ask for no user.
    """
    for route in app.routes:
        yield from _routes_of(route)


def _routes_of(route: BaseRoute) -> Iterator[APIRoute]:
    included = getattr(route, "original_router", None)
    if included is not None:
        yield from routes_of(included)
        return
    assert isinstance(route, APIRoute), f"{route} asks for no user"
    yield route
