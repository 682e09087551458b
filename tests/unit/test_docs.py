"""The documentation cannot go stale: what the code has, the reference names."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_event_provider import hookspecs
from ml_event_provider.cli.definition import get_commands
from ml_event_provider.get_provider_info import OPTIONS, get_provider_info
from ml_event_provider.messages.about import About
from ml_event_provider.messages.preview import sample_events

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def commands(group, prefix="airflow"):
    for one in group:
        name = f"{prefix} {one.name}"
        if hasattr(one, "subcommands"):
            yield from commands(one.subcommands, name)
        else:
            yield name, one


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_every_option_is_documented(option):
    text = (REFERENCE / "configuration.md").read_text()
    assert f"`{option}`" in text
    assert str(OPTIONS[option]["default"]) in text


@pytest.mark.parametrize(("name", "command"), commands(get_commands()))
def test_every_command_is_documented(name, command):
    assert f"`{name}" in (REFERENCE / "cli.md").read_text()


def test_every_route_is_documented():
    from ml_event_provider.api.app import create_app
    from tests.peers.routes import routes_of

    routes = list(routes_of(create_app()))
    assert routes
    text = (REFERENCE / "http.md").read_text()
    for route in routes:
        for method in route.methods:
            assert f"| `{method} /ml-events{route.path.replace(':path', '')}` |" in text


@pytest.mark.parametrize("connection", get_provider_info()["connection-types"], ids=lambda one: one["connection-type"])
def test_every_connection_field_is_documented(connection):
    text = (REFERENCE / "connections.md").read_text()
    assert f"`{connection['connection-type']}`" in text
    for field in connection["conn-fields"]:
        assert f"`{field}`" in text


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("ml_event_")])
def test_every_hookspec_is_documented(hook):
    assert f"`{hook}`" in (REFERENCE / "plugins.md").read_text()


def test_the_alert_of_a_webhook_is_shown_as_it_is_sent():
    import json
    import re

    page = (ROOT / "docs" / "howto" / "notify-webhook.md").read_text()
    (shown,) = (
        one for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "kind" in (one := json.loads(block))
    )
    sent = About(kind="resolved", others=(sample_events()["airflow.dag_run.failed"],)).to_dict()
    assert shown.keys() == sent.keys()
    assert shown["others"][0].keys() == sent["others"][0].keys()


def test_links_between_pages_lead_somewhere():
    import re

    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
