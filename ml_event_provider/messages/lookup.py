"""Which template serves an event on a channel, and where templates lie."""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import BaseLoader, TemplateNotFound
from jinja2.loaders import split_template_path

from ml_event_provider.exceptions import TemplateProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jinja2 import Environment

SUFFIX = ".j2"
#: Names that begin so are looked for in the built-in folder only.
BUILT_IN = "builtin/"
#: How long what was seen on the disk is believed.
FRESH_SECONDS = 1.0
_NOT_IN_NAMES = re.compile(r"[^\w.-]")


def built_in_directory() -> Path:
    """The templates of this package: inside it when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


@lru_cache(maxsize=4096)
def candidates(event_type: str, channel: str, dialect: str) -> tuple[str, ...]:
    """File names, best first: for the channel, the dialect, all; of each the type, its families, the default.

    Characters of a type that cannot stand in a file name are ``_`` there.
    """
    parts = _NOT_IN_NAMES.sub("_", event_type).split(".")
    stems = [".".join(parts[:length]) for length in range(len(parts), 0, -1)] + ["default"]
    endings = dict.fromkeys((f".{channel}", f".{dialect}", ""))
    return tuple(f"{stem}{ending}{SUFFIX}" for ending in endings for stem in stems if stem)


def named(template: str, channel: str, dialect: str) -> tuple[str, ...]:
    """File names of a template that a rule names: as it is, or with channel or dialect."""
    stem = template.removesuffix(SUFFIX)
    return (f"{stem}.{channel}{SUFFIX}", f"{stem}.{dialect}{SUFFIX}", f"{stem}{SUFFIX}")


class Known:
    """What was seen on the disk since a moment."""

    __slots__ = ("blocks", "chosen", "paths", "since", "states", "unchanged")

    def __init__(self, since: float) -> None:
        self.since = since
        self.chosen: dict[tuple[tuple[str, ...], bool], str | None] = {}
        self.states: dict[str, tuple[str, int, int]] = {}
        self.blocks: dict[tuple[str, str], bool] = {}
        self.paths: dict[str, str | None] = {}
        self.unchanged: set[tuple[str, int]] = set()


class Folders(BaseLoader):
    """Jinja's loader over the folders: the first that has the file wins.

    A new, changed or removed file is seen within a second; until then the disk is not looked at again.
    """

    def __init__(self, directories: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self.built_in = built_in_directory()
        self.directories = (*map(Path, directories), self.built_in)
        self.clock = clock
        self._known = Known(clock())

    def path(self, name: str) -> str | None:
        """The file of that name, or nothing."""
        paths = self.recent().paths
        if name not in paths:
            paths[name] = self._find(name)
        return paths[name]

    def first(self, names: tuple[str, ...], *, built_in: bool = False) -> str | None:
        """The first of the names that has a file; with ``built_in``, among this package's own."""
        chosen = self.recent().chosen
        key = (names, built_in)
        if key not in chosen:
            looked_for = [BUILT_IN + name for name in names] if built_in else names
            chosen[key] = next((name for name in looked_for if self.path(name)), None)
        return chosen[key]

    def state(self, name: str) -> tuple[str, int, int] | None:
        """A file's path, time and size: what differs when it was changed."""
        path = self.path(name)
        if path is None:
            return None
        states = self.recent().states
        if name not in states:
            try:
                found = os.stat(path)
            except OSError:
                return None
            states[name] = (path, found.st_mtime_ns, found.st_size)
        return states[name]

    def recent(self) -> Known:
        """What was seen on the disk within a second."""
        if self.clock() - self._known.since >= FRESH_SECONDS:
            self._known = Known(self.clock())
        return self._known

    def _find(self, name: str) -> str | None:
        wanted = name.removeprefix(BUILT_IN)
        try:
            inside = os.path.join(*split_template_path(wanted)) if wanted else ""
        except (TemplateNotFound, TypeError):
            return None
        directories = (self.built_in,) if name.startswith(BUILT_IN) else self.directories
        for directory in directories if inside else ():
            path = os.path.join(directory, inside)
            if os.path.isfile(path):
                return path
        return None

    def is_built_in(self, name: str) -> bool:
        """Whether that name's file is one of this package's."""
        path = self.path(name)
        return path is not None and path.startswith(str(self.built_in) + os.sep)

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Read a file (Jinja calls this).

        :raises TemplateProblem: if it cannot be read.
        """
        path = self.path(template)
        if path is None:
            raise TemplateNotFound(template)
        try:
            changed = os.stat(path)
            source = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateProblem(f"cannot be read: {error}") from None

        def up_to_date() -> bool:
            unchanged = self.recent().unchanged
            if (template, changed.st_mtime_ns) not in unchanged:
                try:
                    found = os.stat(path)
                except OSError:
                    return False
                same = (found.st_mtime_ns, found.st_size) == (changed.st_mtime_ns, changed.st_size)
                if not same or self.path(template) != path:
                    return False
                unchanged.add((template, changed.st_mtime_ns))
            return True

        return source, path, up_to_date

    def list_templates(self) -> list[str]:
        """The names of all files."""
        found = {
            path.relative_to(directory).as_posix()
            for directory in self.directories
            for path in directory.glob(f"**/*{SUFFIX}")
        }
        return sorted(found)
