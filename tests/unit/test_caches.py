"""What is remembered for later is whole: an error while it is made leaves nothing behind, or what was there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider import extensions
from ml_event_provider.dispatch.connections import CONNECTION_SECONDS, Connections

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cached = (extensions.plugin_manager, extensions.targets, extensions.registries, extensions.template_directories)
    for one in cached:
        one.cache_clear()
    yield
    for one in cached:
        one.cache_clear()


@pytest.mark.parametrize("failing", range(len(extensions.BUILT_IN)))
def test_whichever_plugin_cannot_be_imported_at_first_all_are_there_later(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def broken(name: str) -> Any:
            if name == extensions.BUILT_IN[failing]:
                raise OSError("too many open files")
            return importlib.import_module(name)

        patch.setattr(extensions, "import_module", broken)
        for ask in (extensions.targets, extensions.registries, extensions.template_directories):
            with pytest.raises(OSError, match="too many"):
                ask()
    assert {"mleventswebhook", "slack"} <= set(extensions.targets())
    assert "mlflow" in extensions.registries()


def test_a_connection_that_cannot_be_looked_up_for_once_is_found_later() -> None:
    moment = [0.0]
    found: Any = object()
    away = [True]

    def look_up(conn_id: str, workspace: str) -> Any:
        if away[0]:
            raise OSError("the database is away")
        return found

    connections = Connections(lambda: moment[0], look_up)
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            connections.get("inbox", "default")
        away[0] = False
        assert connections.get("inbox", "default") is found
        away[0] = True
        moment[0] += CONNECTION_SECONDS
