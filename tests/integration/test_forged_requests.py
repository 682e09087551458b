"""A page of another site cannot change anything in the user's name: what the cookie alone may do, route by route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ml_event_provider import config
from tests.integration.borders import PATH, ROUTES
from tests.integration.callers import service, user, user_token

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

CHANGING = sorted(route for route in ROUTES if route[0] != "GET")
BODY = '{"reason": "r", "everything": true, "ends_at": "2099-01-01T00:00:00Z"}'
JSON = {"content-type": "application/json"}
SAME = {"sec-fetch-site": "same-origin"}


@pytest.fixture(autouse=True)
def _not_all_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")


def ask(client: TestClient, route: tuple[str, str], headers: dict[str, str]) -> int:
    """The answer's code; 400 and 404 are the route's own, which has let the request in."""
    path = route[1].replace("{alert_id}", "a").replace("{name:path}", "s")
    return client.request(route[0], path, content=BODY, headers=headers).status_code


@pytest.fixture
def cookie(client: TestClient) -> None:
    client.cookies.set("_token", user_token("ADMIN"))


FORGED = {
    "form": {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "cross-site"},
    "form of another port": {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-site"},
    "text": {"content-type": "text/plain", "sec-fetch-site": "same-site"},
    "json of another port": {**JSON, "sec-fetch-site": "same-site"},
    "typed by the user": {**JSON, "sec-fetch-site": "none"},
    "a word that no browser says": {**JSON, "sec-fetch-site": "Same-Origin "},
    "another origin beside the right word": {**JSON, "sec-fetch-site": "cross-site", "origin": "http://testserver"},
    "older browser, another host": {**JSON, "origin": "http://evil.example.com"},
    "older browser, another port": {**JSON, "origin": "http://testserver:81"},
    "older browser, a host that begins alike": {**JSON, "origin": "http://testserver.evil.example.com"},
    "older browser, our host as a name": {**JSON, "origin": "http://testserver@evil.example.com"},
    "older browser, a file": {**JSON, "origin": "null"},
    "nothing said": JSON,
}


@pytest.mark.usefixtures("cookie")
@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_a_forged_change_is_refused_on_each_route(client: TestClient, headers: dict[str, str]) -> None:
    assert {route: ask(client, route, headers) for route in CHANGING} == dict.fromkeys(CHANGING, 403)


OWN = {
    "own page": {**JSON, **SAME},
    "older browser": {**JSON, "origin": "http://testserver"},
    "older browser behind https": {**JSON, "origin": "https://testserver"},
}


@pytest.mark.usefixtures("cookie")
@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_our_own_page_may_change(client: TestClient, headers: dict[str, str]) -> None:
    assert not {ask(client, route, headers) for route in CHANGING} & {401, 403, 415}


@pytest.mark.usefixtures("cookie")
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_our_own_page_sends_json(client: TestClient, content_type: str) -> None:
    found = {ask(client, route, {**SAME, "content-type": content_type}) for route in CHANGING if route[0] != "DELETE"}
    assert found == {415}


@pytest.mark.usefixtures("cookie")
def test_behind_a_proxy_the_configured_address_counts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {**JSON, "origin": "https://airflow.example.com"}
    assert ask(client, ("POST", f"{PATH}/silences"), headers) == 403
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/ml")
    config.forget()
    assert ask(client, ("POST", f"{PATH}/silences"), headers) == 201


@pytest.mark.usefixtures("cookie")
@pytest.mark.parametrize("path", ["alerts", "silences", "health"])
def test_reading_takes_the_cookie_from_anywhere_for_no_other_page_sees_the_answer(
    client: TestClient, path: str
) -> None:
    assert client.get(f"{PATH}/{path}", headers={"sec-fetch-site": "cross-site"}).status_code in {200, 503}


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "cross-site", "origin": "https://tool.example.com"}])
def test_whoever_sends_a_bearer_token_means_it(client: TestClient, headers: dict[str, str]) -> None:
    for credentials in (user("ADMIN"), service()):
        assert ask(client, ("POST", f"{PATH}/rules/evaluate"), {**JSON, **headers, **credentials}) == 400


def test_a_token_that_airflow_adds_to_each_request_is_not_meant(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    added = {**JSON, **user("ADMIN")}
    for headers in (headers for name, headers in FORGED.items() if name != "nothing said"):
        forged = {route: ask(client, route, {**headers, **user("ADMIN")}) for route in CHANGING}
        assert forged == dict.fromkeys(CHANGING, 403)
    assert ask(client, ("POST", f"{PATH}/silences"), {**added, **SAME}) == 201
    assert ask(client, ("POST", f"{PATH}/silences"), added) == 201, "no browser: curl, or a task"
