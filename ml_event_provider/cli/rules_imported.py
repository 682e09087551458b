"""``airflow ml-events rules import``: rules of other systems as rule files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ml_event_provider.cli.output import command
from ml_event_provider.cli.source import paths_of
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules.importing.files import as_yaml, imported, said

#: The exit code where something could not be carried over.
LEFT_OUT = 3


@command
def import_rules(args: Any) -> int:
    """Write rule files, to stdout or a folder, and what was left out to stderr."""
    found = imported(vars(args)["from"], paths_of(args.file), args.target or ["imported"])
    everything = [one for rules in found.values() for one in rules]
    if args.output:
        folder = Path(args.output)
        wanted = {file: folder / f"{file.stem}.yaml" for file in found}
        if len(set(wanted.values())) < len(wanted):
            raise InvalidRule("two of the files have the same name but for folder and ending: import them one by one")
        for path in wanted.values():
            if path.exists():
                raise InvalidRule(f"{path}: is there already; remove it, or name another folder with -o")
        folder.mkdir(parents=True, exist_ok=True)
        for file, path in wanted.items():
            path.write_text(as_yaml(found[file]), "utf-8")
    else:
        print(as_yaml(everything), end="")
    left = [line for one in everything for line in said(one)]
    rules = sum(1 for one in everything if one.rule is not None)
    for line in left:
        print(line, file=sys.stderr)
    print(f"{rules} rules imported, {len(left)} parts left out", file=sys.stderr)
    return LEFT_OUT if left else 0
