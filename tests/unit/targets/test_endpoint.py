"""A rule's endpoint lies below its connection's path, however it is spelt."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_event_provider.targets.answers import UnusableError
from ml_event_provider.targets.endpoint import below

URL = "https://example.com/hooks/ml"


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ("v2/alerts", f"{URL}/v2/alerts"),
        ("/v2/alerts", f"{URL}/v2/alerts"),
        ("v2/alerts/", f"{URL}/v2/alerts/"),
        ("//evil.example.com/x", f"{URL}/evil.example.com/x"),
        ("@evil.example.com", f"{URL}/@evil.example.com"),
        ("topics/x:publish", f"{URL}/topics/x:publish"),
        ("a%20b/ü?x=1&y=%2F..%2F", f"{URL}/a%20b/ü?x=1&y=%2F..%2F"),
        ("..a/.b/c../d...e", f"{URL}/..a/.b/c../d...e"),
        ("?x=1", f"{URL}/?x=1"),
        ("a?next=https://example.com/b", f"{URL}/a?next=https://example.com/b"),
    ],
)
def test_an_endpoint_is_below_the_connections_path(endpoint: str, found: str) -> None:
    assert below(URL, endpoint) == found


def test_the_connections_own_query_is_kept() -> None:
    assert below("https://example.com/hooks?token=t", "a/b?x=1") == "https://example.com/hooks/a/b?token=t&x=1"
    assert below("https://example.com?token=t", "a") == "https://example.com/a?token=t"


@pytest.mark.parametrize(
    "endpoint",
    [
        "../admin/users",
        "/../admin",
        "a/../../admin",
        "a/..",
        "..",
        ".",
        "./x",
        "%2e%2e/admin",
        "%2E%2e%2Fadmin",
        ".%2e/admin",
        "a%2f..%2fadmin",
        "%252e%252e/admin",
        "%25252e%25252e/admin",
        "..;/admin",
        "..;a=b/admin",
        "%2e%2e%3b/admin",
        "..\\admin",
        "..%5cadmin",
        "a\\b",
        "a%5c..%5cadmin",
        "\uff0e\uff0e/admin",
        "\u2025/admin",
        "%EF%BC%8E%EF%BC%8E/admin",
        "..\uff0fadmin",
        "%c0%ae%c0%ae/admin",
        "..\x00/admin",
        "..%00/admin",
        "a b",
        "a\r\nHost: evil",
        "a%0d%0aHost:%20evil",
        "a\t",
        "a#b",
        "a?x=1#b",
        "a?x=1 HTTP/1.1",
        "https://evil.example.com/x",
        "https:%2f%2fevil.example.com",
    ],
)
def test_what_may_lead_out_of_it_is_refused(endpoint: str) -> None:
    with pytest.raises(UnusableError, match="the option 'endpoint' is"):
        below(URL, endpoint)


@given(st.text(alphabet=st.sampled_from("./\\%2eE5cfF;:?#@a\uff0e\u2025\uff0f \n"), max_size=20), st.integers(0, 3))
def test_no_spelling_leaves_host_or_path(endpoint: str, times: int) -> None:
    for _ in range(times):
        endpoint = quote(endpoint, safe="")
    try:
        found = urlsplit(below(URL, endpoint))
    except UnusableError:
        return
    assert (found.scheme, found.netloc, found.fragment) == ("https", "example.com", "")
    assert found.path.startswith("/hooks/ml/")
    assert ".." not in found.path.split("/")
