"""How a dispatcher works, as ``[ml_events]`` says."""

from __future__ import annotations

from dataclasses import dataclass

from ml_event_provider import config
from ml_event_provider.dispatch.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Settings:
    """How a dispatcher works; times in seconds."""

    poll: float
    workers: int
    lease: float
    send_timeout: float
    reconcile_every: float
    grace: float
    retention_days: float
    policy: RetryPolicy

    @classmethod
    def from_config(cls) -> Settings:
        """As ``[ml_events]`` says.

        :raises ValueError: if a lease would run out while its delivery is being sent.
        """
        if config.lease_seconds() < 2 * config.send_timeout_seconds():
            raise ValueError(
                f"[ml_events] lease_seconds = {config.lease_seconds():g} is shorter than twice send_timeout_seconds ="
                f" {config.send_timeout_seconds():g}: a delivery could be sent twice at the same time"
            )
        return cls(
            poll=config.poll_seconds(),
            workers=config.send_workers(),
            lease=config.lease_seconds(),
            send_timeout=config.send_timeout_seconds(),
            reconcile_every=config.reconcile_seconds(),
            grace=config.reconcile_grace_seconds(),
            retention_days=config.retention_days(),
            policy=RetryPolicy(
                max_attempts=config.max_attempts(),
                base=config.retry_base_seconds(),
                longest=config.retry_max_seconds(),
            ),
        )
