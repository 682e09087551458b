"""Who asks the web app: users of Airflow by their role, and processes with a service token."""

from __future__ import annotations

from ml_event_provider.hooks.ingest import mint_token


def user(role: str) -> dict[str, str]:
    """The headers of a user, who is called like the role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role.lower(), role=role))
    return {"Authorization": f"Bearer {token}"}


def service() -> dict[str, str]:
    """The headers of a process."""
    return {"Authorization": f"Bearer {mint_token()}"}
