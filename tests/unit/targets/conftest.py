"""A receiver on loopback, and a network that may reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ml_event_provider.targets.network import Network
from tests.peers.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def network() -> Network:
    return Network(allowed_hosts=lambda: ("127.0.0.1",))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
