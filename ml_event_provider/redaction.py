"""Masks the secrets that Airflow knows (connections' passwords, sensitive variables) in texts of ours."""

from __future__ import annotations


def redact(text: str) -> str:
    """``text`` with Airflow's known secrets masked as ``***``."""
    from airflow.sdk.log import redact as mask  # type: ignore[attr-defined]

    return str(mask(text))
