"""What is plugged in: the built-in targets and registries, and those of installed plugins."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import pluggy

from ml_event_provider import hookspecs
from ml_event_provider.exceptions import RegistryError, UnknownTarget

if TYPE_CHECKING:
    from pathlib import Path

    from ml_event_provider.registries import Registry
    from ml_event_provider.targets import Target

#: The built-in plugins: a module each, its name and this line are all that it takes.
BUILT_IN = (
    "ml_event_provider.targets.webhook",
    "ml_event_provider.targets.dingtalk",
    "ml_event_provider.targets.slack",
    "ml_event_provider.targets.email",
    "ml_event_provider.registries.mlflow",
)


@cache
def plugin_manager() -> pluggy.PluginManager:
    """The manager with all built-in and installed plugins."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in BUILT_IN:
        manager.register(import_module(name), name)
    manager.load_setuptools_entrypoints(hookspecs.PROJECT)
    return manager


@cache
def targets() -> dict[str, Target]:
    """All targets by connection type. An installed plugin's target replaces a built-in one."""
    # pluggy calls the last registered first.
    found: dict[str, Target] = {}
    for group in reversed(plugin_manager().hook.ml_event_targets()):
        for target in group:
            for connection_type in target.connection_types:
                found[connection_type] = target
    return found


def target_for(connection_type: str | None) -> Target:
    """The target that serves a connection type.

    :raises UnknownTarget: if none does.
    """
    try:
        return targets()[connection_type or ""]
    except KeyError:
        raise UnknownTarget(
            f"no target serves connections of type {connection_type!r}; there are: {', '.join(sorted(targets()))}"
        ) from None


@cache
def caller_options() -> frozenset[str]:
    """The options of targets that whoever may use a connection may give."""
    return frozenset().union(*(getattr(target, "caller_options", ()) for target in targets().values()))


@cache
def registries() -> dict[str, Registry]:
    """All model registries by name."""
    found: dict[str, Registry] = {}
    for group in reversed(plugin_manager().hook.ml_event_registries()):
        found.update((registry.name, registry) for registry in group)
    return found


def registry_named(name: str) -> Registry:
    """The registry of that name.

    :raises RegistryError: if there is none.
    """
    try:
        return registries()[name]
    except KeyError:
        raise RegistryError(
            f"no model registry is named {name!r}; these are known: {', '.join(sorted(registries()))}"
        ) from None


@cache
def template_directories() -> tuple[Path, ...]:
    """The template folders of installed plugins."""
    return tuple(path for group in plugin_manager().hook.ml_event_template_directories() for path in group)
