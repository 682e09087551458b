"""Reads the data that a drift check compares: a file, a stored object, a callable's result or a frame."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    #: A path or URI of a CSV or Parquet file, a frame, or what makes one.
    Dataset = str | Path | Callable[[], pd.DataFrame] | pd.DataFrame

_COMPRESSIONS = {"gz": "gzip", "bz2": "bz2", "xz": "xz", "zst": "zstd"}
_FORMAT = re.compile(r"\.(csv|parquet|pq)(?:\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


def load(source: Any, side: str) -> pd.DataFrame:
    """The data of ``source`` as a frame.

    Paths end in ``.csv`` (also compressed: ``.csv.gz``, ``.bz2``, ``.xz``, ``.zst``) or ``.parquet``; URIs
    are opened by Airflow's ``ObjectStoragePath``, so that ``s3://aws_default@bucket/key.parquet`` takes its
    credentials from the connection ``aws_default``. An empty CSV file is a frame without columns.

    :param side: ``"reference"`` or ``"current"``, for error texts.
    :raises TypeError: if the source is none of these, or the callable returns no frame.
    :raises ValueError: if the file's name does not tell its format.
    :raises FileNotFoundError: if there is no such file.
    """
    import pandas as pd

    if callable(source) and not hasattr(source, "open"):
        made = source()
        if not isinstance(made, pd.DataFrame):
            raise TypeError(f"the {side} callable returned {type(made).__name__}, not a pandas DataFrame")
        return made
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, str) and source:
        source = _path(source)
    if not hasattr(source, "open"):
        raise TypeError(
            f"the {side} data is {type(source).__name__} {str(source)[:100]!r}:"
            " give a path, a URI, a pandas DataFrame or a callable that returns one"
        )
    found = _FORMAT.search(source.name)
    if not found:
        raise ValueError(
            f"the {side} data {source.name!r} is neither .csv nor .parquet: name it so, or give a callable"
        )
    kind, compression = found.group(1).lower(), _COMPRESSIONS.get((found.group(2) or "").lower())
    if isinstance(source, Path) and source.is_dir() and kind != "csv":
        return pd.read_parquet(source)
    try:
        with source.open("rb") as stream:
            if kind == "csv":
                return pd.read_csv(stream, compression=compression)
            return pd.read_parquet(stream)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except FileNotFoundError:
        raise FileNotFoundError(f"the {side} data {dataset_id(source)!r} does not exist") from None


def dataset_id(source: Any) -> str:
    """A name for ``source``: its path or URI without password and query, a callable's name, or nothing."""
    if isinstance(source, str) or hasattr(source, "open"):
        return _without_secrets(str(source))
    name = getattr(source, "__qualname__", "")
    return f"{source.__module__}.{name}" if name else ""


def _path(text: str) -> Any:
    if "://" not in text:
        return Path(text).expanduser()
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(text)


def _without_secrets(text: str) -> str:
    if "://" not in text:
        return text
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{user.partition(':')[0]}{at}{host}", parts.path, "", ""))
