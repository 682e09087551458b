"""Amazon EventBridge: event patterns, and rules as its API, CloudFormation and Terraform's JSON write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.importing.model import Imported, LeftOut, Reading, mapping, mappings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SAME: Final = {
    "detail": "data",
    "detail-type": "type",
    "source": "source",
    "resources": "subject",
    # Amazon's own page on SageMaker writes it so.
    "Resources": "subject",
    "id": "id",
    "time": "time",
}
_WITHOUT: Final = {
    "account": "events here have no account: the rule fits those of every account",
    "region": "events here have no region: the rule fits those of every region",
    "version": "it is the version of EventBridge's envelope, which events here do not have",
}
#: What a rule says of itself that has no counterpart.
_OF_RULES: Final = {
    "Arn": "the rule's name in AWS",
    "EventBusName": "a rule here sees the events of its workspace",
    "ManagedBy": "the AWS service that made it",
    "CreatedBy": "the AWS account that made it",
    "RoleArn": "an AWS role",
    "ScheduleExpression": "a schedule is a DAG's schedule in Airflow, not a rule",
    "Targets": "AWS resources are no Airflow connections: name connections with --target",
    "Tags": "tags of AWS resources",
}
_TERRAFORM: Final = {
    "name": "Name",
    "description": "Description",
    "event_pattern": "EventPattern",
    "state": "State",
    "schedule_expression": "ScheduleExpression",
    "event_bus_name": "EventBusName",
    "role_arn": "RoleArn",
    "tags": "Tags",
}


def read(value: Any, name: str, targets: Sequence[str]) -> Iterator[Imported]:
    """The rules of a pattern, a rule, a list of rules, or a template of CloudFormation or Terraform.

    :raises ValueError: if the value is none of these.
    """
    top = mapping(value, "a pattern or rule")
    if "Rules" in top:
        yield from _listed(top, name, targets)
    elif _is_template(top):
        yield from _of_template(top, name, targets)
    elif "resource" in top:
        yield from _of_terraform(top, name, targets)
    elif top.keys() & {"EventPattern", "ScheduleExpression"}:
        yield _rule(top, name, targets, "")
    else:
        yield _made(name, top, Reading({}), {}, targets, "")


def converted(pattern: Mapping[str, Any], path: str = "") -> tuple[dict[str, Any], list[LeftOut]]:
    """A pattern on EventBridge's envelope as one on our events, and what of it has no counterpart.

    :raises ValueError: if what is left would match what the pattern never did: an alternative without conditions,
        or one condition for two.
    """
    found: dict[str, Any] = {}
    left: list[LeftOut] = []
    for key, value in pattern.items():
        place = f"{path}.{key}" if path else key
        if key == "$or" and isinstance(value, list) and all(isinstance(each, dict) for each in value):
            found["$or"] = []
            for number, each in enumerate(value):
                one, lost = converted(each, f"{place}[{number}]")
                if not one:
                    raise ValueError(
                        f"{place}[{number}] holds only what has no counterpart, and would match everything"
                    )
                found["$or"].append(one)
                left += lost
            continue
        first, dot, below = key.partition(".")
        ours = _SAME.get(first)
        if ours is None:
            left.append(LeftOut(place, _WITHOUT.get(first, f"EventBridge's events have no field {first!r} at the top")))
        elif ours + dot + below in found:
            raise ValueError(f"{place} and another field are both {ours + dot + below!r} here")
        else:
            found[ours + dot + below] = value
    return found, left


def _listed(top: Mapping[str, Any], name: str, targets: Sequence[str]) -> Iterator[Imported]:
    listing = Reading(top)
    for number, each in enumerate(mappings(listing.take("Rules"), "Rules")):
        yield _rule(each, f"{name}-{number + 1}", targets, f"Rules[{number}]")
    listing.leave("NextToken", "more rules follow in the API's next answer: import that, too")
    yield from _beside(listing, name)


def _is_template(top: Mapping[str, Any]) -> bool:
    parts = top.get("Resources")
    return isinstance(parts, dict) and all(isinstance(each, dict) and "Type" in each for each in parts.values())


def _of_template(top: Mapping[str, Any], name: str, targets: Sequence[str]) -> Iterator[Imported]:
    template = Reading(top)
    template.take("AWSTemplateFormatVersion")
    for key, each in template.take("Resources").items():
        path = f"Resources.{key}"
        if each["Type"] != "AWS::Events::Rule":
            yield Imported(key, None, (LeftOut(path, f"is a {each['Type']}, not a rule"),))
            continue
        part = Reading(each, path)
        part.take("Type")
        made = _rule(mapping(part.take("Properties", {}), path), key, targets, f"{path}.Properties")
        yield made._replace(left=(*made.left, *part.left()))
    yield from _beside(template, name)


def _of_terraform(top: Mapping[str, Any], name: str, targets: Sequence[str]) -> Iterator[Imported]:
    module = Reading(top)
    kinds = Reading(mapping(module.take("resource"), "resource"), "resource")
    kind = "aws_cloudwatch_event_rule"
    for key, each in mapping(kinds.take(kind, {}), kind).items():
        path = f"resource.{kind}.{key}"
        named = {_TERRAFORM.get(field, field): part for field, part in mapping(each, path).items()}
        if "is_enabled" in named:
            named["State"] = "ENABLED" if named.pop("is_enabled") else "DISABLED"
        yield _rule(named, key, targets, path)
    yield from _beside(kinds, name)
    yield from _beside(module, name)


def _beside(reading: Reading, name: str) -> Iterator[Imported]:
    """What stands beside the rules of a file."""
    if reading.left():
        yield Imported(name, None, reading.left())


def _rule(value: Mapping[str, Any], name: str, targets: Sequence[str], path: str) -> Imported:
    rule = Reading(value, path)
    name = rule.take("Name", name)
    said: dict[str, Any] = {}
    if description := rule.take("Description"):
        said["description"] = description
    state = rule.take("State", "ENABLED")
    if state == "DISABLED":
        said["enabled"] = False
    elif state != "ENABLED":
        rule.lose("State", f"{state} is neither ENABLED nor DISABLED: the rule is switched on")
    for key, why in _OF_RULES.items():
        rule.leave(key, why)
    pattern = rule.take("EventPattern")
    if pattern is None:
        return Imported(name, None, (*rule.left(), LeftOut(rule.at("EventPattern"), "is missing: no rule is made")))
    if isinstance(pattern, str):
        try:
            pattern = json.loads(pattern)
        except json.JSONDecodeError as error:
            why = f"is no JSON ({error}): no rule is made"
            return Imported(name, None, (*rule.left(), LeftOut(rule.at("EventPattern"), why)))
    return _made(name, pattern, rule, said, targets, rule.at("EventPattern"))


def _made(name: str, pattern: Any, rule: Reading, said: dict[str, Any], targets: Sequence[str], path: str) -> Imported:
    try:
        found, left = converted(mapping(pattern, "a pattern"), path)
        if not found:
            raise ValueError("nothing of the pattern has a counterpart")
    except ValueError as error:
        return Imported(name, None, (*rule.left(), LeftOut(path or "the pattern", f"{error}: no rule is made")))
    made = {"name": name, **said, "event_pattern": found, "targets": list(targets)}
    return Imported(name, made, (*rule.left(), *left))
