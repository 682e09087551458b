"""In a real browser: a page on another port of the same host cannot change anything; a page of ours can."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from ml_event_provider.dispatch import silences
from ml_event_provider.store import events, states
from ml_event_provider.store.engine import transaction
from tests.integration.borders import PATH, ROUTES, Owner, things
from tests.integration.callers import user_token
from tests.peers.browser import browser
from tests.peers.web import Asked, Site, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page
    from sqlalchemy import Engine

OWNER = Owner("default", "train")
CHANGING = sorted(route for route in ROUTES if route[0] != "GET")
EVENT = {"specversion": "1.0", "id": "forged", "source": "/evil", "type": "x.y"}
BODIES = {
    "events": EVENT,
    "notifications": {"event": EVENT, "targets": [{"conn_id": "inbox"}]},
    "evaluate": {"event": EVENT},
    "silences": {"name": "forged", "reason": "r", "everything": True, "ends_at": "2099-01-01T00:00:00Z"},
}
#: Ways in which a page asks, in JavaScript. All but the last two go out without asking the server first.
WAYS = {
    "text": "fetch(url, {method, body, mode: 'no-cors', credentials: 'include',"
    " headers: {'content-type': 'text/plain'}})",
    "urlencoded": "fetch(url, {method, body: new URLSearchParams({a: body}), mode: 'no-cors', credentials: 'include'})",
    "multipart": "(() => { const f = new FormData(); f.append('a', body);"
    " return fetch(url, {method, body: f, mode: 'no-cors', credentials: 'include'}) })()",
    "no body": "fetch(url, {method, mode: 'no-cors', credentials: 'include'})",
    "beacon": "Promise.resolve(navigator.sendBeacon(url, body))",
    "json": "fetch(url, {method, body, credentials: 'include', headers: {'content-type': 'application/json'}})",
    "events": "fetch(url, {method, body, credentials: 'include',"
    " headers: {'content-type': 'application/cloudevents+json'}})",
}


@pytest.fixture
def sites(app: FastAPI, airflow_db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Site]]:
    """Airflow's, with a page of its own; and another one on the same host."""
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")
    ours, theirs = FastAPI(), FastAPI()
    for one in (ours, theirs):
        one.get("/page")(lambda: HTMLResponse("<html><head><link rel=icon href=data:></head><body></body></html>"))
    ours.mount("/", app)
    with served(ours) as airflow, served(theirs) as other:
        yield airflow, other


def addresses(site: Site) -> dict[tuple[str, str], tuple[str, str]]:
    """Where each route is, about things that are there; and the body that it takes."""
    alert, silence = OWNER.alert(), OWNER.name.replace(" ", "%20")
    paths = {route: route[1].replace("{alert_id}", alert).replace("{name:path}", silence) for route in CHANGING}
    return {
        route: (f"{site.url}{path}", json.dumps(BODIES.get(path.rpartition("/")[2], {})))
        for route, path in paths.items()
    }


def ask(page: Page, way: str, method: str, url: str, body: str) -> Any:
    script = f"([method, url, body]) => {WAYS[way]}.then(a => a.status, e => 'refused by the browser')"
    return page.evaluate(script, [method, url, body])


def post_form(page: Page, url: str, body: str) -> None:
    """Send a form whose text is JSON, and wait for the answer's page."""
    with page.context.expect_page() as opened:
        page.evaluate(
            """([url, body]) => {
                const form = document.createElement("form")
                Object.assign(form, {method: "post", action: url, enctype: "text/plain", target: "_blank"})
                const field = document.createElement("input")
                Object.assign(field, {name: body.slice(0, -1) + ', "x": "', value: '"}'})
                form.append(field); document.body.append(form); form.submit()
            }""",
            [url, body],
        )
    opened.value.wait_for_load_state()
    opened.value.close()


def kept() -> tuple[int, list[str], list[str]]:
    """How many events there are, the silences that have not ended, and whether alerts are looked after."""
    with transaction() as connection:
        return (
            len(events.latest(connection)),
            [one.name for one in silences.of(connection) if str(one.ends_at).startswith("2099")],
            [str(one.acknowledged) for one in states.open_alerts(connection)],
        )


def test_only_our_own_page_changes_anything(sites: tuple[Site, Site]) -> None:
    airflow, other = sites
    things(OWNER)
    before = kept()
    where = addresses(airflow)
    token = {"name": "_token", "value": user_token("ADMIN"), "url": airflow.url, "httpOnly": True, "sameSite": "Lax"}
    with browser() as context:
        context.add_cookies([token])
        page = context.new_page()
        page.goto(f"{other.url}/page")
        seen = f"fetch('{airflow.url}/ml-events/v1/alerts', {{mode: 'no-cors', credentials: 'include'}})"
        assert page.evaluate(f"{seen}.then(a => a.type)") == "opaque"
        assert airflow.asked == [Asked("GET", "/ml-events/v1/alerts", True, 200)], "the other page has the cookie sent"
        airflow.asked.clear()
        for (method, _), (url, body) in where.items():
            for way in WAYS:
                ask(page, way, method, url, body)
            post_form(page, url, body)
        forged = [one for one in airflow.asked if one.method == "POST" and one.path.startswith("/ml-events")]
        # What a page may send without asking first came six times for each route, with the cookie. No form deletes.
        expected = {
            url.removeprefix(airflow.url).replace("%20", " "): 6
            for (method, _), (url, _) in where.items()
            if method == "POST"
        }
        counted = {path: sum(one == Asked("POST", path, True, 403) for one in forged) for path in expected}
        assert counted == expected
        assert {one.status for one in forged} <= {403, 405}
        assert kept() == before

        page.goto(f"{airflow.url}/page")
        posts = {route: to for route, to in where.items() if route[0] == "POST"}
        assert {ask(page, "text", "POST", *to) for to in posts.values()} == {415}
        assert kept() == before
        # Acknowledged before resolved, ended before deleted.
        for route in [*sorted(posts), ("DELETE", f"{PATH}/silences/{{name:path}}")]:
            assert ask(page, "json", route[0], *where[route]) in {200, 201, 202, 204}, route
        after = kept()
        assert after[0] > before[0]
        assert (after[1], after[2]) == (["forged"], [])
