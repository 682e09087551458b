"""Who may do what: a user of Airflow's auth manager, or a process of this deployment with a service token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.auth.tokens import JWTValidator, get_sig_validation_args
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jwt import InvalidTokenError

from ml_event_provider.hooks.ingest import AUDIENCE, SERVICE

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager

_bearer = HTTPBearer(auto_error=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``user`` is Airflow's user, or ``None`` for a process with a service token."""

    name: str
    user: Any = None


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


async def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
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


def _auth_manager() -> BaseAuthManager[Any]:
    return get_auth_manager()


def may_publish(who: CallerDep) -> Caller:
    """Processes, and users who may create asset events (the right that fits reporting what happened)."""
    if who.user is None or _auth_manager().is_authorized_asset(method="POST", user=who.user):
        return who
    raise _forbidden(who, "publish events: it takes the right to create asset events")


def may_notify(who: CallerDep) -> Caller:
    """Processes, and users who may use connections: a message goes out over one."""
    if who.user is None or (
        _auth_manager().is_authorized_asset(method="POST", user=who.user)
        and _auth_manager().is_authorized_connection(method="GET", user=who.user)
    ):
        return who
    raise _forbidden(who, "send notifications: it takes the rights to create asset events and read connections")


def may_read(who: CallerDep) -> Caller:
    """Processes, and users who may see the cluster's activity."""
    if who.user is None or _auth_manager().is_authorized_view(access_view=AccessView.CLUSTER_ACTIVITY, user=who.user):
        return who
    raise _forbidden(who, "see this: it takes the right to see the cluster's activity")


def may_manage(who: CallerDep) -> Caller:
    """Processes, and users who may change connections: who may change where messages go may stop them, too."""
    if who.user is None or _auth_manager().is_authorized_connection(method="PUT", user=who.user):
        return who
    raise _forbidden(who, "change alerts and silences: it takes the right to edit connections")


def _forbidden(who: Caller, what: str) -> HTTPException:
    return HTTPException(status.HTTP_403_FORBIDDEN, detail=f"user {who.name!r} may not {what}")
