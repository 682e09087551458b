"""A real Chromium, of the system's."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext

#: Where this is set, as in CI, a browser that is missing fails the tests that need one.
NEEDED: Final = "ML_EVENTS_TESTS_NEED_BROWSER"
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
#: No request of the browser's own; and it runs as root in containers, where its sandbox does not.
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str:
    """The path of the browser; without one the test is skipped, or fails where it is needed."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found:
        return found
    words = f"no browser ({', '.join(_NAMES)}): install one with `apt-get install chromium`"
    if os.environ.get(NEEDED):
        pytest.fail(words)
    pytest.skip(words)


@contextmanager
def browser() -> Iterator[BrowserContext]:
    """A profile of its own in a headless browser."""
    from playwright.sync_api import sync_playwright

    path = executable()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=[*_OPTIONS], headless=True)
        try:
            yield launched.new_context()
        finally:
            launched.close()
