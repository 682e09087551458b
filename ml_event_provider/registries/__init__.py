"""Model registries that sensors and sources can read. One module a registry; found through ``hookspecs``."""

from ml_event_provider.registries.model import (
    Approval,
    ApprovalPolicy,
    ModelVersion,
    Registry,
    RegistryRefused,
)

__all__ = ["Approval", "ApprovalPolicy", "ModelVersion", "Registry", "RegistryRefused"]
