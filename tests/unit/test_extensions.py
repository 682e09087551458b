"""Targets, registries and template folders are plugged in; an installed plugin goes before a built-in one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from ml_event_provider import extensions, hookspecs
from ml_event_provider.exceptions import RegistryError, UnknownTarget

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[pluggy.PluginManager]:
    """A manager of the test's own with the built-in plugins."""

    def forget() -> None:
        for known in (extensions.targets, extensions.registries, extensions.template_directories):
            known.cache_clear()

    manager = extensions.plugin_manager.__wrapped__()
    monkeypatch.setattr(extensions, "plugin_manager", lambda: manager)
    forget()
    yield manager
    forget()


def plugin(name: str = "their_plugin", **hooks: Any) -> ModuleType:
    """A module with hooks that answer with the values given."""
    module = ModuleType(name)
    for hook, value in hooks.items():

        def answer(value: Any = value) -> Any:
            return value

        setattr(module, hook, hookspecs.hookimpl(answer))
    return module


def target(*types: str) -> Any:
    return SimpleNamespace(connection_types=types, channel="theirs")


@pytest.mark.usefixtures("manager")
def test_what_is_built_in() -> None:
    assert {"mleventswebhook", "mleventsdingtalk", "slackwebhook", "smtp"} <= set(extensions.targets())
    assert set(extensions.registries()) == {"mlflow"}
    assert extensions.template_directories() == ()


def test_a_plugins_target_replaces_a_built_in_one_and_adds_others(manager: pluggy.PluginManager) -> None:
    built_in = set(extensions.targets())
    extensions.targets.cache_clear()
    theirs = target("mleventswebhook", "pager")
    manager.register(plugin(ml_event_targets=[theirs]))
    assert extensions.target_for("mleventswebhook") is theirs
    assert extensions.target_for("pager") is theirs
    assert set(extensions.targets()) == built_in | {"pager"}
    assert extensions.target_for("mleventsdingtalk").channel == "dingtalk"


def test_the_plugin_registered_last_goes_first(manager: pluggy.PluginManager) -> None:
    first, last = target("pager"), target("pager")
    manager.register(plugin("first", ml_event_targets=[first]))
    manager.register(plugin("last", ml_event_targets=[last]))
    assert extensions.target_for("pager") is last


def test_a_plugins_registry_replaces_a_built_in_one(manager: pluggy.PluginManager) -> None:
    theirs, other = SimpleNamespace(name="mlflow"), SimpleNamespace(name="größe")
    manager.register(plugin(ml_event_registries=[theirs, other]))
    assert extensions.registry_named("mlflow") is theirs
    assert extensions.registry_named("größe") is other


def test_a_plugins_template_folders_are_found(manager: pluggy.PluginManager) -> None:
    manager.register(plugin(ml_event_template_directories=[Path("/a"), Path("/b")]))
    assert extensions.template_directories() == (Path("/a"), Path("/b"))


def test_a_plugin_need_not_have_all_hooks_but_no_unknown_ones(manager: pluggy.PluginManager) -> None:
    manager.register(plugin("empty"))
    manager.check_pending()
    manager.register(plugin("mistaken", ml_event_tragets=[]))
    with pytest.raises(pluggy.PluginValidationError, match="ml_event_tragets"):
        manager.check_pending()


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("kind", ["pager", None, ""])
def test_an_unknown_connection_type_is_named_beside_those_there_are(kind: str | None) -> None:
    with pytest.raises(UnknownTarget) as raised:
        extensions.target_for(kind)
    assert f"no target serves connections of type {kind!r}; there are: " in str(raised.value)
    assert "mleventsdingtalk, mleventswebhook" in str(raised.value)


@pytest.mark.usefixtures("manager")
def test_an_unknown_registry_is_named_beside_those_there_are() -> None:
    with pytest.raises(RegistryError, match="no model registry is named 'größe'; these are known: mlflow"):
        extensions.registry_named("größe")


def test_each_target_keeps_to_the_protocol() -> None:
    for kind, one in extensions.targets().items():
        assert kind in one.connection_types
        assert one.channel
        assert one.capabilities.dialect in {"text", "markdown", "mrkdwn", "html", "json"}
        assert callable(one.send)
        assert callable(one.check)
