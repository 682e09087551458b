"""A host is the one that was written, and nobody else's."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.targets.address import check, connect
from ml_event_provider.targets.deadline import Deadline
from ml_event_provider.targets.hosts import ascii_host


@pytest.mark.parametrize(
    ("name", "ascii_name"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("STRASSE.Example", "strasse.example"),
        ("STRAẞE.example", "xn--strae-oqa.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("βόλοσ.example", "xn--nxasmq6b.example"),
        ("bücher.example.", "xn--bcher-kva.example."),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\u3002com", "example.com"),
        ("\u0430pple.example", "xn--pple-43d.example"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("my_service.namespace.svc", "my_service.namespace.svc"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("0x7f.1", "0x7f.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_a_name_in_ascii(name: str, ascii_name: str) -> None:
    assert ascii_host(name) == ascii_name
    assert ascii_host(ascii_name) == ascii_name


def test_a_joiner_that_means_something_is_part_of_the_name() -> None:
    joined = "\u0915\u094d\u200d\u0937.example"
    assert ascii_host(joined) != ascii_host(joined.replace("\u200d", ""))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "a b",
        "a\u200db.example",
        "a\n",
        "a/b",
        "a\uff0fb.example",
        "a" * 64,
        "a." * 127 + "aa",
        "*.example",
        "\0",
    ],
)
def test_what_can_be_no_host_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no host name"):
        ascii_host(name)


def test_the_guard_and_the_resolver_see_the_same_name() -> None:
    asked: list[str] = []

    def resolver(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", port))]

    for allowed in ((), ("strasse.example",), ("xn--other.example",)):
        with pytest.raises(ForbiddenAddress, match="xn--strae-oqa"):
            connect("Straße.example", 80, Deadline(5), allowed=allowed, resolver=resolver)
    assert set(asked) == {"xn--strae-oqa.example"}


@pytest.mark.parametrize(
    "entry", ["straße.example", "Straße.Example.", "xn--strae-oqa.example", "XN--STRAE-OQA.example."]
)
@pytest.mark.parametrize("host", ["straße.example", "xn--strae-oqa.example.", "STRAẞE.EXAMPLE"])
def test_an_allowed_host_is_meant_in_all_its_spellings_and_no_other_is(entry: str, host: str) -> None:
    check(host, ["10.0.0.1"], [entry])
    with pytest.raises(ForbiddenAddress):
        check("strasse.example", ["10.0.0.1"], [entry])
