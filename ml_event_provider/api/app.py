"""The FastAPI app. No route, no documentation page without credentials."""

from __future__ import annotations

import logging
from typing import Final

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.responses import JSONResponse

from ml_event_provider import __version__, troubles
from ml_event_provider.api import alerts, health, ingest, rules, silences
from ml_event_provider.api.security import caller, meant_by_the_user
from ml_event_provider.exceptions import InvalidEvent, InvalidRule, NotFound
from ml_event_provider.store.engine import DATABASE_ERROR, schema_differs, worth_retrying

log = logging.getLogger(__name__)

_AWAY: Final = "the database is busy or away"
_OTHER_TABLES: Final = "the tables of ML events are of another version: run `airflow db migrate`"


def storable_address(request: Request) -> None:
    """Refuse NUL in a path or query: no name has it, and PostgreSQL refuses even the question."""
    named = [*request.path_params.values(), *(text for pair in request.query_params.multi_items() for text in pair)]
    if any("\0" in str(text) for text in named):
        raise HTTPException(status.HTTP_400_BAD_REQUEST, detail="the URL holds the character NUL (%00): remove it")


def create_app() -> FastAPI:
    """The app that Airflow's API server mounts under ``/ml-events``."""
    app = FastAPI(
        title="ML Events",
        version=__version__,
        dependencies=[Depends(caller), Depends(meant_by_the_user), Depends(storable_address)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(ingest.router)
    app.include_router(rules.router)
    app.include_router(alerts.router)
    app.include_router(silences.router)
    app.include_router(health.router)

    @app.exception_handler(InvalidEvent)
    @app.exception_handler(InvalidRule)
    async def bad_request(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=400)

    @app.exception_handler(NotFound)
    async def not_found(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=404)

    @app.exception_handler(DATABASE_ERROR)
    async def database(_: Request, error: Exception) -> JSONResponse:
        # What is handled here is told once a minute; what is raised again has its traceback in the log each time.
        if schema_differs(error):
            troubles.tell(log, f"Requests are answered 503: {_OTHER_TABLES}", error, level=logging.WARNING)
            return later(_OTHER_TABLES, seconds=60)
        if worth_retrying(error) or troubles.expected(error):
            troubles.tell(log, f"Requests are answered 503: {_AWAY}", error)
            return later(f"{_AWAY}; send the same again", seconds=1)
        raise error

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "internal error; see the API server's log"}, status_code=500)

    return app


def later(words: str, *, seconds: int) -> JSONResponse:
    """The answer that the same request may succeed some seconds later."""
    return JSONResponse({"detail": words}, status_code=503, headers={"Retry-After": str(seconds)})
