from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.targets import Outcome
from ml_event_provider.targets.address import check, connect
from ml_event_provider.targets.deadline import Deadline
from ml_event_provider.targets.model import Result
from ml_event_provider.targets.network import Answer, Network

if TYPE_CHECKING:
    from tests.peers.receiver import Receiver

INTERNAL = {
    "loopback": "127.0.0.1",
    "loopback, another": "127.8.9.1",
    "loopback v6": "::1",
    "unspecified": "0.0.0.0",
    "unspecified v6": "::",
    "this network": "0.1.2.3",
    "private 10": "10.20.30.40",
    "private 172": "172.31.255.255",
    "private 192": "192.168.1.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata of Alibaba, carrier-grade NAT": "100.100.100.200",
    "metadata of Azure's host": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "metadata of AWS v6": "fd00:ec2::254",
    "benchmarking": "198.18.0.1",
    "documentation": "203.0.113.7",
    "multicast": "224.0.0.1",
    "multicast, global": "232.1.2.3",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unique local": "fc00::1",
    "link-local v6": "fe80::1",
    "link-local v6 with zone": "fe80::1%1",
    "site-local": "fec0::1",
    "multicast v6": "ff02::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "NAT64 of private": "64:ff9b::a00:1",
    "6to4 of private": "2002:a00:1::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
}


def resolving(*answers: list[str]) -> Any:
    """A resolver that gives each list once, and the last one from then on."""
    left = list(answers)

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address in addresses
        ]

    return resolve


@pytest.mark.parametrize("address", INTERNAL.values(), ids=INTERNAL.keys())
def test_internal_addresses_are_refused_with_what_to_do(address: str) -> None:
    with pytest.raises(ForbiddenAddress, match=r"inner\.example") as caught:
        check("inner.example", [address], ())
    assert "allowed_hosts" in str(caught.value)
    assert address in str(caught.value)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses_pass(address: str) -> None:
    check("public.example", [address], ())


def test_one_internal_address_among_public_ones_is_refused() -> None:
    with pytest.raises(ForbiddenAddress):
        check("mixed.example", ["93.184.216.34", "10.0.0.1"], ())


@pytest.mark.parametrize(
    "allowed",
    [
        ["hooks.internal"],
        ["HOOKS.internal."],
        ["10.1.2.3"],
        ["10.1.0.0/16"],
        ["10.1.2.3/16"],
        ["192.168.0.0/16", "10.0.0.0/8"],
    ],
)
def test_allowed_hosts_addresses_and_networks_pass(allowed: list[str]) -> None:
    check("hooks.internal", ["10.1.2.3", "::ffff:10.1.2.3"], allowed)


@pytest.mark.parametrize(
    "allowed", [["internal"], ["x.hooks.internal"], ["10.2.0.0/16"], ["fc00::/7"], ["10.1.2.3/33"], [""]]
)
def test_what_is_not_named_exactly_is_not_allowed(allowed: list[str]) -> None:
    with pytest.raises(ForbiddenAddress):
        check("hooks.internal", ["10.1.2.3"], allowed)


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "[::1]", "127.0.0.1."]
)
def test_other_spellings_of_loopback_are_refused(host: str, receiver: Receiver) -> None:
    answer = Network(allowed_hosts=lambda: ()).post(f"http://{host}:{receiver.port}/", b"{}", {}, timeout=5)
    assert isinstance(answer, Result)
    assert answer.outcome is not Outcome.DELIVERED
    assert receiver.requests == []
    assert receiver.connections == 0


def test_a_name_that_turns_inside_after_the_check_is_not_followed(receiver: Receiver) -> None:
    """DNS rebinding: the first answer is harmless, all later ones lead to the receiver."""
    resolver = resolving(["192.0.2.1"], ["127.0.0.1"])
    network = Network(allowed_hosts=lambda: ("192.0.2.0/24",), resolver=resolver)
    url = f"http://rebinding.example:{receiver.port}/"
    first = network.post(url, b"{}", {}, timeout=0.3)
    assert isinstance(first, Result)
    # Not the receiver, which the second answer would have led to.
    assert first.outcome is Outcome.RETRY
    assert receiver.connections == 0
    second = network.post(url, b"{}", {}, timeout=5)
    assert isinstance(second, Result)
    assert (second.outcome, second.code) == (Outcome.REFUSED, "forbidden address")
    assert receiver.connections == 0


def test_the_host_header_keeps_the_name_and_the_connection_the_checked_address(receiver: Receiver) -> None:
    network = Network(allowed_hosts=lambda: ("127.0.0.1",), resolver=resolving(["127.0.0.1"]))
    answer = network.post(f"http://hooks.example:{receiver.port}/x", b"{}", {}, timeout=5)
    assert isinstance(answer, Answer)
    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_the_next_address_is_tried_where_the_first_refuses(receiver: Receiver) -> None:
    # Nothing listens on 127.0.0.2.
    network = Network(allowed_hosts=lambda: ("127.0.0.0/8",), resolver=resolving(["127.0.0.2", "127.0.0.1"]))
    assert isinstance(network.post(f"http://two.example:{receiver.port}/", b"", {}, timeout=5), Answer)


def test_a_resolver_that_hangs_is_given_up() -> None:
    release = threading.Event()
    try:
        with pytest.raises(TimeoutError, match=r"slow\.example"):
            connect(
                "slow.example",
                80,
                Deadline(0.05),
                allowed=(),
                resolver=lambda *_, **__: release.wait(30) and [],  # type: ignore[arg-type, return-value]
            )
    finally:
        release.set()


def test_a_name_that_cannot_be_one_is_a_dns_failure() -> None:
    with pytest.raises(socket.gaierror):
        connect("a" * 70 + ".example", 80, Deadline(5), allowed=())
