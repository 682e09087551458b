"""Who asks: a user of Airflow's auth manager, or a process of this deployment with a service token.

What a caller may see and do is the subject of :mod:`ml_event_provider.api.authority`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.tokens import JWTValidator, get_sig_validation_args
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jwt import InvalidTokenError

from ml_event_provider import config
from ml_event_provider.events.model import is_json_type
from ml_event_provider.hooks.ingest import AUDIENCE, SERVICE

_bearer = HTTPBearer(auto_error=False)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]

#: Methods that change nothing.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``user`` is Airflow's user, or ``None`` for a process with a service token."""

    name: str
    user: Any = None

    @property
    def is_service(self) -> bool:
        """Whether it is a process of this deployment, and nobody in particular."""
        return self.user is None


@cache
def _service_tokens() -> JWTValidator:
    return JWTValidator(audience=AUDIENCE, leeway=10, **get_sig_validation_args(make_secret_key_if_needed=False))


async def _service(token: str) -> bool:
    """Whether ``token`` is a valid service token of this deployment."""
    try:
        claims = await _service_tokens().avalidated_claims(token)
    except (InvalidTokenError, ValueError):
        return False
    return claims.get("sub") == SERVICE


async def caller(request: Request, credentials: Credentials) -> Caller:
    """The caller of a request; 401 without valid credentials."""
    if credentials is not None and await _service(credentials.credentials):
        return Caller(SERVICE)
    try:
        user = await get_user(request, None, credentials)
    except HTTPException as error:
        # Airflow answers 403 to a token it cannot read; whoever is unknown is to log in: 401.
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            detail=f"{error.detail}: send a bearer token of a user (POST /auth/token) or a service token",
            headers={"WWW-Authenticate": "Bearer"},
        ) from None
    return Caller(str(user.get_name()), user)


CallerDep = Annotated[Caller, Depends(caller)]


def meant_by_the_user(request: Request, _: CallerDep, credentials: Credentials) -> None:
    """Refuse a change that another site's page asks for in the user's name (CSRF).

    A browser sends the cookie along whoever's page asks, from another port of the same host, too. A page cannot send
    a bearer token of its own accord, so whoever sends one means it, except where Airflow adds one to each request
    (``[core] simple_auth_manager_all_admins``).
    """
    if request.method in _SAFE:
        return
    if credentials is not None and not (_everybody_is_admin() and _from_a_browser(request)):
        return
    if not _same_origin(request):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            detail="a change with the session's cookie must come from a page of this Airflow: from elsewhere, send a"
            " bearer token (POST /auth/token)",
        )
    if request.method != "DELETE" and not is_json_type(request.headers.get("content-type")):
        raise HTTPException(
            status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
            detail="a change with the session's cookie needs the header Content-Type: application/json",
        )


def _everybody_is_admin() -> bool:
    return bool(conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False))


def _from_a_browser(request: Request) -> bool:
    return "sec-fetch-site" in request.headers or "origin" in request.headers


def _same_origin(request: Request) -> bool:
    """Whether the browser says that a page of ours asks: by ``Sec-Fetch-Site``, an older one by ``Origin``."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    asking = urlsplit(request.headers.get("origin", "")).netloc.lower()
    # Behind a proxy the host that the browser sees may be known from the configuration only.
    ours = {request.headers.get("host", "").lower(), urlsplit(config.airflow_base_url()).netloc.lower()}
    return bool(asking) and asking in ours
