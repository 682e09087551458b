"""The guard against targets that lead inside: a host is resolved once, checked, and so connected to.

Who may edit a connection or a rule shall not be able to make the dispatcher talk to the metadata service of
the cloud, to the database or to the machine itself. Since the address that was checked is the one that is
connected to, a name that resolves differently a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from typing import TYPE_CHECKING, Any

from ml_event_provider.exceptions import ForbiddenAddress
from ml_event_provider.targets.hosts import ascii_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ml_event_provider.targets.deadline import Deadline

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    #: ``socket.getaddrinfo`` or a stand-in: host and port to its list of five-tuples.
    Resolver = Callable[..., list[Any]]

#: Internal all the same, whatever the registries say: Azure's host agent, IETF protocol assignments (Oracle's
#: metadata service is 192.0.0.192), deprecated site-local.
_INTERNAL = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "fec0::/10")))
#: NAT64 (RFC 6052): the last 32 bits are an IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def connect(
    host: str,
    port: int,
    deadline: Deadline,
    *,
    allowed: Iterable[str],
    resolver: Resolver = socket.getaddrinfo,
) -> socket.socket:
    """A TCP connection to a host whose addresses passed the check; the time left is the socket's time-out.

    :raises ForbiddenAddress: if one of its addresses is internal and ``allowed`` does not name it.
    :raises OSError: if it cannot be resolved (``socket.gaierror``) or reached.
    """
    try:
        host = ascii_host(host)
    except ValueError:
        raise socket.gaierror(socket.EAI_NONAME, "this cannot be a host name") from None
    found = _look_up(host, port, deadline, resolver)
    check(host, (entry[4][0] for entry in found), allowed)
    problem: OSError = socket.gaierror(socket.EAI_NONAME, "the name has no address")
    for index, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Each address gets its share, so that one that answers nothing leaves time for the next.
            sock.settimeout(deadline.remaining() / (len(found) - index))
            sock.connect(address)
            sock.settimeout(deadline.remaining())
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    raise problem


def check(host: str, addresses: Iterable[str], allowed: Iterable[str]) -> None:
    """Check every address that ``host`` resolves to.

    :param allowed: host names, addresses or networks that are let through although they are internal.
    :raises ForbiddenAddress: at the first internal address that is not allowed.
    """
    names, networks = _split(allowed)
    if _named(host) in names:
        return
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        plain = _unwrapped(address)
        if not is_internal(plain):
            continue
        if any(plain in network or address in network for network in networks):
            continue
        shown = host if host == text else f"{host} ({text})"
        raise ForbiddenAddress(
            f"{shown} is an internal address, which targets may not reach; if it is meant, add the host, the"
            " address or its network to [ml_events] allowed_hosts"
        )


def is_internal(address: Address) -> bool:
    """Whether an address is anything but an ordinary public one.

    Internal are: private, loopback, link-local (with the clouds' metadata services), carrier-grade NAT,
    multicast, reserved, documentation, unspecified.
    """
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or any(address.version == network.version and address in network for network in _INTERNAL)
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped, NAT64 or 6to4 one, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _split(allowed: Iterable[str]) -> tuple[set[str], list[ipaddress.IPv4Network | ipaddress.IPv6Network]]:
    names: set[str] = set()
    networks = []
    for entry in allowed:
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            names.add(_named(entry))
    return names, networks


def _named(host: str) -> str:
    """A name as it is compared: what is none is compared with itself."""
    try:
        return ascii_host(host).rstrip(".")
    except ValueError:
        return host


def _look_up(host: str, port: int, deadline: Deadline, resolver: Resolver) -> list[Any]:
    """Resolve within the time left: the system's resolver has no time-out of its own to be set."""
    answers: queue.SimpleQueue[list[Any] | BaseException] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolver(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            answers.put(error)

    threading.Thread(target=ask, name="ml-events-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
