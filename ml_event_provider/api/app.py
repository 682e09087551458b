"""The FastAPI app. No route, no documentation page without credentials."""

from __future__ import annotations

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.responses import JSONResponse

from ml_event_provider import __version__
from ml_event_provider.api import alerts, health, ingest, rules, silences
from ml_event_provider.api.security import caller, meant_by_the_user
from ml_event_provider.exceptions import InvalidEvent, InvalidRule, NotFound
from ml_event_provider.store.engine import schema_differs, worth_retrying


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

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        if worth_retrying(error):
            return later("the database is busy or away; send the same again", seconds=1)
        if schema_differs(error):
            return later("the tables of ML events are of another version: run `airflow db migrate`", seconds=60)
        return JSONResponse({"detail": "internal error; see the API server's log"}, status_code=500)

    return app


def later(words: str, *, seconds: int) -> JSONResponse:
    """The answer that the same request may succeed some seconds later."""
    return JSONResponse({"detail": words}, status_code=503, headers={"Retry-After": str(seconds)})
