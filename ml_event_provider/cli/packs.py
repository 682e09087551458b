"""``airflow ml-events packs …``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_event_provider import config
from ml_event_provider.cli.output import command, warn_of_missing
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.cli.person import person
from ml_event_provider.dispatch import packs as switching
from ml_event_provider.dispatch.linting import missing_connections
from ml_event_provider.exceptions import NotFound
from ml_event_provider.rules.packs import load_pack, packs, parse_parameters
from ml_event_provider.store.engine import transaction

if TYPE_CHECKING:
    from ml_event_provider.rules.packs import Pack


@command
def list_packs(args: Any) -> None:
    """Print the packs, and which are switched on where."""
    with transaction() as connection:
        on = switching.enabled(connection, args.workspace)
        own = {one.name: switching.known(connection, one.name, workspace=one.workspace) for one in on}
    rows: list[dict[str, Any]] = []
    for name, pack in sorted({**packs(), **own}.items()):
        places = [one for one in on if one.name == name]
        if not places:
            rows.append({"name": name, "enabled": False, "title": pack.title})
        for one in places:
            parameters = _written(one.parameters) if args.output == "table" else one.parameters
            where = {"enabled": True, "workspace": one.workspace, "parameters": parameters}
            rows.append({"name": name, **where, "title": pack.title})
    show_rows(rows, ("name", "enabled", "workspace", "parameters", "title"), args.output, empty="no packs")


@command
def show(args: Any) -> None:
    """Print a pack: what it is for, its parameters and its rules."""
    import yaml

    workspace = _workspace(args)
    with transaction() as connection:
        pack = _pack(connection, args, workspace)
        on = {one.name: one.parameters for one in switching.enabled(connection, workspace)}
    print(f"{pack.name}: {pack.title}\n")
    if pack.description:
        print(f"{pack.description.strip()}\n")
    if pack.name in on:
        print(f"Switched on in workspace {workspace!r}: {_written(on[pack.name]) or 'no parameters'}\n")
    for name, one in pack.parameters.items():
        default = "must be given" if one.required else f"default {_text(one.default) or 'none'}"
        print(f"{name} ({one.type}, {default})\n    {one.description}")
    rules = switching.written(pack)["rules"]
    print(f"\n{yaml.safe_dump({'rules': rules}, sort_keys=False, allow_unicode=True, width=120)}", end="")


@command
def enable(args: Any) -> None:
    """Make a pack's rules, with the parameters that were given before and those that are given now."""
    workspace = _workspace(args)
    with transaction() as connection:
        pack = _pack(connection, args, workspace)
        given = parse_parameters(pack, args.set)
        done = switching.enable(connection, pack, given, workspace=workspace, author=person(args.by))
        missing = missing_connections(connection, [workspace])
        if args.plan:
            connection.rollback()
    for change in done:
        print(f"{change.what:<10} {change.workspace}/{change.name}")
        for field in change.fields if change.what == "changed" else ():
            print(f"    {field.path}: {_text(field.before)} → {_text(field.after)}")
        if change.note:
            print(f"    {change.note}")
    print(f"pack {pack.name}, {len(done)} rule(s)" + (" (nothing was changed)" if args.plan else ""))
    warn_of_missing(missing)


@command
def disable(args: Any) -> None:
    """Delete a pack's rules."""
    workspace = _workspace(args)
    with transaction() as connection:
        gone = switching.disable(connection, args.name, workspace=workspace, author=person(args.by))
    for name in gone:
        print(f"deleted    {workspace}/{name}")
    print(f"pack {args.name}, {len(gone)} rule(s)")


def _pack(connection: Any, args: Any, workspace: str) -> Pack:
    if bool(args.name) == bool(args.file):
        raise NotFound("name one pack, or a file with -f; see `airflow ml-events packs list`")
    return load_pack(Path(args.file)) if args.file else switching.known(connection, args.name, workspace=workspace)


def _written(parameters: dict[str, Any]) -> str:
    return " ".join(f"{name}={_text(value)}" for name, value in parameters.items())


def _text(value: Any) -> str:
    """A value as it is written behind ``--set``."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, str) and "," not in one for one in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _workspace(args: Any) -> str:
    return args.workspace or config.workspace()
