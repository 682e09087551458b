"""A web server in a thread, at a free port of this machine, that remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Asked(NamedTuple):
    """One request, and the code of its answer."""

    method: str
    path: str
    cookie: bool
    status: int


class Site:
    """An ASGI app that is served; ``asked`` grows."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self.asked: list[Asked] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def remember(message: Any) -> None:
            if message["type"] == "http.response.start":
                cookie = any(name == b"cookie" for name, _ in scope["headers"])
                self.asked.append(Asked(scope["method"], scope["path"], cookie, message["status"]))
            await send(message)

        await self._app(scope, receive, remember)


@contextmanager
def served(app: Callable[..., Any]) -> Iterator[Site]:
    """Serves an app while it is used."""
    site = Site(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.should_exit = True
            thread.join(10)
