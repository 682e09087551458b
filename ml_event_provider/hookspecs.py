"""The pluggy hooks by which targets, model registries and template folders are found.

A plugin is a module with functions of these names, marked with :data:`hookimpl`, named by an entry point of the
group ``ml_event_provider``. The built-in ones register the same way (``extensions.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ml_event_provider.registries import Registry
    from ml_event_provider.targets import Target

PROJECT = "ml_event_provider"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ml_event_targets() -> Iterable[Target]:  # type: ignore[empty-body]
    """The targets that this plugin adds, one for each protocol."""


@hookspec
def ml_event_registries() -> Iterable[Registry]:  # type: ignore[empty-body]
    """The model registries that this plugin adds."""


@hookspec
def ml_event_template_directories() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders with templates for the event types or channels that this plugin adds."""
