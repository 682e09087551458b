"""A receiver with good and bad targets; it writes down what it took. ``python -m soak.receiver PORT BOOK``.

``/good/N`` answers 204 at once. The bad ones each fail in a way of their own: see ``BAD``. The book has a line of JSON
for each message that was taken: target, delivery id, event id, what it says of which alert, and when it came (seconds
since 1970). A line is written before the answer, so that what a sender believes delivered is in the book.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: What each bad target does; ``closed`` is a port where nobody listens.
BAD: Final = {
    "hang": "takes the request and never answers",
    "slow": "answers rightly, after a second",
    "drip": "sends a byte of its answer every half second",
    "error": "answers 500",
    "flaky": "answers 503 to every second request",
    "reset": "closes the connection with a reset",
    "throttle": "answers 429 with Retry-After: 20",
    "closed": "refuses the connection",
}

_TAKEN: Final = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


def _answer(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "", ""]).encode()


class Book:
    """What was taken, a line each."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def note(self, target: str, headers: dict[str, str], body: bytes) -> None:
        """Write down one message."""
        data = json.loads(body)["data"]
        alert = data.get("alert") or {}
        line: dict[str, Any] = {
            "target": target,
            "delivery": headers.get("webhook-id", ""),
            "rule": data["rule"],
            "event": data["event"]["id"],
            "kind": alert.get("kind", "fired"),
            "alert": alert.get("alert", ""),
            "fed_at": data["event"]["data"].get("fed_at"),
            "at": time.time(),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Targets:
    """Answers requests as their paths say."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._chance = random.Random(0)
        self._ways: dict[str, Callable[[asyncio.StreamWriter, Callable[[], None]], Awaitable[bool]]] = {
            "hang": self._hang,
            "slow": self._slow,
            "drip": self._drip,
            "error": self._error,
            "flaky": self._flaky,
            "reset": self._reset,
            "throttle": self._throttle,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                target, headers, body = await _request(reader)
                way = self._ways.get(target.removeprefix("bad_"), self._good)
                if not await way(writer, lambda: self._book.note(target, headers, body)):  # noqa: B023 - called at once
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, answer: bytes) -> bool:
        writer.write(answer)
        await writer.drain()
        return True

    async def _good(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        take()
        return await self._send(writer, _TAKEN)

    async def _hang(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        await asyncio.sleep(120)
        return False

    async def _slow(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        await asyncio.sleep(1)
        return await self._good(writer, take)

    async def _drip(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 200:
            await self._send(writer, bytes([byte]))
            await asyncio.sleep(0.5)
        return False

    async def _error(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        return await self._send(writer, _answer("500 Internal Server Error"))

    async def _flaky(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        if self._chance.random() < 0.5:
            return await self._send(writer, _answer("503 Service Unavailable"))
        return await self._good(writer, take)

    async def _reset(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    async def _throttle(self, writer: asyncio.StreamWriter, take: Callable[[], None]) -> bool:
        return await self._send(writer, _answer("429 Too Many Requests", "Retry-After: 20"))


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.rstrip("\r\n").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split(" ")[1].strip("/"), headers, body


async def main(port: int, book: Path) -> None:
    """Serve until killed."""
    with book.open("a", encoding="utf-8") as file:
        server = await asyncio.start_server(Targets(Book(file)).serve, "127.0.0.1", port, backlog=512)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
