"""Who asks the web app: users of Airflow by their role, and processes with a service token."""

from __future__ import annotations

from ml_event_provider.hooks.ingest import mint_token


def user(role: str, *teams: str) -> dict[str, str]:
    """The headers of a user, who is called like the role, and belongs to teams."""
    return {"Authorization": f"Bearer {user_token(role, *teams)}"}


def user_token(role: str, *teams: str) -> str:
    """The token of such a user, as it stands in a browser's cookie, too."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role.lower(), role=role, teams=list(teams)))


def service() -> dict[str, str]:
    """The headers of a process."""
    return {"Authorization": f"Bearer {mint_token()}"}
