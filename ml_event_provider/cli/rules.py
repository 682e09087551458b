"""``airflow ml-events rules …``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ml_event_provider import config
from ml_event_provider.cli.output import command
from ml_event_provider.cli.output import show as show_rows
from ml_event_provider.cli.source import event_named
from ml_event_provider.exceptions import InvalidRule
from ml_event_provider.rules import Rule, RuleSet, explain, load_rules, rule_json_schema
from ml_event_provider.store import definitions
from ml_event_provider.store.engine import transaction


@command
def apply(args: Any) -> None:
    """Create and change rules as the files say; all or nothing."""
    loaded = _load(args.file)
    with transaction() as connection:
        done = [(rule, definitions.put(connection, _definition(rule), managed_by="file")) for rule in loaded]
        if args.plan:
            connection.rollback()
    for rule, what in done:
        print(f"{what:<10} {rule.workspace}/{rule.name}")
    print(f"{len(done)} rule(s)" + (" (nothing was changed)" if args.plan else ""))


@command
def list_rules(args: Any) -> None:
    """Print all rules."""
    with transaction() as connection:
        found = definitions.find(connection, workspace=args.workspace)
    rows = [
        {
            **one._asdict(),
            "on": ", ".join(one.definition.get("on") or ()) or "(pattern)",
            "targets": ", ".join(
                target if isinstance(target, str) else target["conn_id"] for target in one.definition.get("targets", ())
            ),
        }
        for one in found
    ]
    columns = ("workspace", "name", "enabled", "version", "on", "targets")
    show_rows(rows, columns, args.output, empty="no rules; create them with `airflow ml-events rules apply -f FILE`")


@command
def show(args: Any) -> None:
    """Print one rule as YAML."""
    import yaml

    with transaction() as connection:
        stored = definitions.get(connection, args.name, workspace=_workspace(args))
    print(f"# version {stored.version}, managed by {stored.managed_by}, changed {stored.updated_at.isoformat()}")
    print(yaml.safe_dump(stored.definition, sort_keys=False, allow_unicode=True), end="")


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
        definitions.remove(connection, args.name, workspace=_workspace(args))
    print(f"deleted {_workspace(args)}/{args.name}")


@command
def test(args: Any) -> int:
    """Say for each rule whether it matches an event, and if not, what failed; exit 1 if none matches."""
    event = event_named(args.event)
    candidates = _load(args.file) if args.file else _stored_rules(args.workspace)
    matched = {(rule.workspace, rule.name) for rule in RuleSet(candidates).match(event)}
    document = json.loads(event.to_json())
    for rule in candidates:
        matches = (rule.workspace, rule.name) in matched
        print(f"{rule.name}: {'matches' if matches else 'does not match' if rule.enabled else 'disabled'}")
        if not matches:
            for found in explain(rule.pattern(), document):
                if not found.passed:
                    print(f"    {found.path}: wants {found.predicate}, found {_shown(found.found)}")
    return 0 if matched else 1


@command
def schema(_: Any) -> None:
    """Print the JSON Schema of rule files."""
    print(json.dumps(rule_json_schema(), indent=2, ensure_ascii=False))


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return str(value)


def _load(path: str) -> list[Rule]:
    """The rules of files, each in its workspace.

    :raises InvalidRule: if they cannot be used, or two of one workspace have one name.
    """
    loaded = [_in_workspace(rule) for rule in load_rules(Path(path))]
    for (workspace, name), count in Counter((rule.workspace, rule.name) for rule in loaded).items():
        if count > 1:
            raise InvalidRule(
                f"{path}: {count} rules of workspace {workspace!r} are named {name!r}: rename all but one"
            )
    return loaded


def _in_workspace(rule: Rule) -> Rule:
    """The rule; one that names no workspace belongs to ``[ml_events] workspace``."""
    if "workspace" in rule.model_fields_set:
        return rule
    return rule.model_copy(update={"workspace": config.workspace()})


def _definition(rule: Rule) -> dict[str, Any]:
    """What the store keeps: what was written, not what is the default anyway."""
    written = rule.model_dump(mode="json", exclude_defaults=True)
    return {"name": rule.name, "workspace": rule.workspace, **written}


def _stored_rules(workspace: str) -> list[Rule]:
    """The store's rules. One that cannot be used is said and left out, as the dispatcher does."""
    with transaction() as connection:
        stored = definitions.find(connection, workspace=workspace)
    usable: list[Rule] = []
    for one in stored:
        try:
            usable.append(Rule.model_validate(one.definition))
        except ValueError as error:
            print(f"{one.name}: cannot be used: {error}")
    return usable


def _workspace(args: Any) -> str:
    return args.workspace or config.workspace()


def _switch(args: Any, *, enabled: bool) -> None:
    with transaction() as connection:
        definitions.set_enabled(connection, args.name, workspace=_workspace(args), enabled=enabled)
    print(f"{'enabled' if enabled else 'disabled'} {_workspace(args)}/{args.name}")
