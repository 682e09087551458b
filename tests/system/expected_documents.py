"""Whole documents compared with files: what differs from run to run is replaced by a mark of its kind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

EXPECTED = Path(__file__).parent / "expected"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def expected(name: str) -> Any:
    """The document in ``expected/<name>.json``."""
    return json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))


def normal(value: Any, *, run_id: str, url: str, key: str = "") -> Any:
    """``value`` with the marks of its kind where it differs from run to run."""
    if isinstance(value, dict):
        return {name: normal(one, run_id=run_id, url=url, key=name) for name, one in value.items()}
    if isinstance(value, list):
        return [normal(one, run_id=run_id, url=url) for one in value]
    if key in {"hostname", "traceback"} and value:
        return f"<{key}>"
    if key == "duration" and isinstance(value, float):
        return "<number>"
    if not isinstance(value, str):
        return value
    if _TIME.fullmatch(value):
        return "<time>"
    if _UUID.fullmatch(value):
        return "<uuid>"
    return value.replace(url, "<url>").replace(run_id, "<run>").replace(quote(run_id, safe=""), "<quoted run>")
