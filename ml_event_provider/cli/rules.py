"""``airflow ml-events rules …``: apply, look at and change what is stored."""

from __future__ import annotations

import json
from typing import Any

from ml_event_provider import config
from ml_event_provider.cli.output import command, warn_of_missing
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.cli.person import user
from ml_event_provider.cli.source import paths_of
from ml_event_provider.dispatch import applying
from ml_event_provider.dispatch.linting import missing_connections
from ml_event_provider.rules.files import load_definitions, rule_file_json_schema
from ml_event_provider.store import definitions
from ml_event_provider.store.definitions import Kind
from ml_event_provider.store.engine import transaction

_MARKS = {"created": "+", "changed": "~", "deleted": "-", "unchanged": " "}


@command
def apply(args: Any) -> None:
    """Create, change and with ``--prune`` delete what the files say; all or nothing."""
    wanted = applying.in_workspaces(load_definitions(*paths_of(args.file)))
    with transaction() as connection:
        changes = applying.apply(connection, wanted, managed_by="file", author=user(), prune=args.prune)
        missing = missing_connections(connection, {one.workspace for one in changes}, known=wanted)
        if args.plan:
            connection.rollback()
    for one in changes:
        kind = "" if one.kind == "rule" else f" ({one.kind})"
        print(f"{_MARKS[one.what]} {one.what:<9} {one.workspace}/{one.name}{kind}")
        for change in one.fields if one.what == "changed" else ():
            print(f"      {change.path}: {_shown(change.before)} → {_shown(change.after)}")
        if one.note:
            print(f"      {one.note}")
    counts = {what: sum(1 for one in changes if one.what == what) for what in _MARKS}
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing"
    print(said + (" (nothing was changed)" if args.plan else ""))
    warn_of_missing(missing)


@command
def list_rules(args: Any) -> None:
    """Print all rules, or what else is defined."""
    with transaction() as connection:
        found = definitions.find(connection, Kind(args.kind), workspace=args.workspace)
    rows = [
        {
            **one._asdict(),
            "on": ", ".join(_listed(one.definition.get("on"))) or "(pattern)",
            "targets": ", ".join(
                target if isinstance(target, str) else target["conn_id"] for target in one.definition.get("targets", ())
            ),
        }
        for one in found
    ]
    columns: tuple[str, ...] = ("workspace", "name", "enabled", "version", "on", "targets", "managed_by")
    if args.kind != Kind.RULE:
        columns = ("workspace", "name", "version", "managed_by")
    what = args.kind.replace("_", " ")
    show_rows(rows, columns, args.output, empty=f"no {what}s; create them with `airflow ml-events rules apply -f FILE`")


@command
def show(args: Any) -> None:
    """Print one rule as YAML."""
    with transaction() as connection:
        stored = definitions.get(connection, args.name, workspace=workspace_of(args), kind=Kind(args.kind))
    print(f"# version {stored.version}, managed by {stored.managed_by}, changed {stored.updated_at.isoformat()}")
    _print_yaml(stored.definition)


@command
def history(args: Any) -> None:
    """Print all versions of a rule, or one of them as YAML."""
    with transaction() as connection:
        versions = definitions.history(connection, args.name, workspace=workspace_of(args), kind=Kind(args.kind))
    if args.version is not None:
        for one in versions:
            if one.version == args.version and one.definition is not None:
                print(f"# version {one.version}, {one.change} {one.changed_at.isoformat()} by {one.author or '-'}")
                _print_yaml(one.definition)
                return
    rows = []
    before: Any = {}
    for one in versions:
        fields = applying.differences(before, one.definition) if before and one.definition else ()
        rows.append({**one._asdict(), "fields": ", ".join(change.path for change in fields)})
        before = one.definition
    show_rows(rows, ("version", "changed_at", "change", "author", "managed_by", "fields"), args.output, empty="nothing")


@command
def rollback(args: Any) -> None:
    """Make a rule, or what else is defined, what it was in a former version."""
    workspace, kind = workspace_of(args), Kind(args.kind)
    with transaction() as connection:
        done = definitions.roll_back(connection, args.name, args.version, workspace=workspace, kind=kind, author=user())
        applying.check(connection, [workspace])
        stored = definitions.get(connection, args.name, workspace=workspace, kind=kind)
    said = "is so already" if done == "unchanged" else f"is now as in version {args.version}"
    print(f"{workspace}/{args.name} {said} (version {stored.version})")


@command
def enable(args: Any) -> None:
    """Switch a rule on."""
    _switch(args, enabled=True)


@command
def disable(args: Any) -> None:
    """Switch a rule off."""
    _switch(args, enabled=False)


@command
def delete(args: Any) -> None:
    """Delete a rule; its history stays."""
    with transaction() as connection:
        definitions.remove(connection, args.name, workspace=workspace_of(args), kind=Kind(args.kind), author=user())
        applying.check(connection, [workspace_of(args)])
    print(f"deleted {workspace_of(args)}/{args.name}")


@command
def schema(_: Any) -> None:
    """Print the JSON Schema of rule files."""
    print(json.dumps(rule_file_json_schema(), indent=2, ensure_ascii=False))


def workspace_of(args: Any) -> str:
    """The workspace that a command names, or ours."""
    return args.workspace or config.workspace()


def _switch(args: Any, *, enabled: bool) -> None:
    workspace = workspace_of(args)
    with transaction() as connection:
        definitions.set_enabled(connection, args.name, workspace=workspace, enabled=enabled, author=user())
        stored = definitions.get(connection, args.name, workspace=workspace)
    print(f"{'enabled' if enabled else 'disabled'} {workspace}/{args.name}")
    if stored.managed_by != "api":
        print(f"it came from a {stored.managed_by.split(':')[0]}: applying that again leaves it so")


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _shown(value: Any) -> str:
    return "(absent)" if value is None else json.dumps(value, ensure_ascii=False)


def _print_yaml(definition: dict[str, Any]) -> None:
    import yaml

    print(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True), end="")
