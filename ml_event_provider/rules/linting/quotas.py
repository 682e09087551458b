"""How many targets a rule has, and how many rules and people a workspace reaches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ml_event_provider.rules.linting.remarks import Remark
from ml_event_provider.rules.recipients import addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ml_event_provider.rules.linting.reading import Reading
    from ml_event_provider.rules.linting.remarks import Surroundings

#: The targets' options that name people: addresses of e-mail, and whom DingTalk mentions.
_ADDRESSES: Final = ("to", "cc", "bcc")
_PEOPLE: Final = ("at_mobiles", "at_user_ids")
#: What parts the people in a text, also in full width.
_SEPARATORS: Final = re.compile("[,;\uff0c\uff1b\n]")
_ADVICE: Final = "take some away, or ask for more in [ml_events] workspace_quotas"


def check(readings: Sequence[Reading], around: Surroundings) -> Iterator[Remark]:
    """What exceeds a quota, whether its rules are enabled or not."""
    quota = around.quota
    if quota is None:
        return
    workspaces: dict[str, list[Reading]] = {}
    for reading in readings:
        workspaces.setdefault(reading.rule.workspace, []).append(reading)
        targets = {target.conn_id for _, target in reading.targets()}
        limit = quota("max_targets", reading.rule.workspace)
        if len(targets) > limit:
            text = f"has {len(targets)} targets, those of its escalations included; {limit} are allowed: {_ADVICE}"
            yield reading.remark("error", "too-many-targets", "targets", text)
    for workspace, members in workspaces.items():
        yield from _workspace(workspace, members, quota, around.connection_types or {})


def _workspace(
    workspace: str, readings: Sequence[Reading], quota: Callable[[str, str], int], types: Mapping[str, str]
) -> Iterator[Remark]:
    limit = quota("max_rules", workspace)
    if len(readings) > limit:
        text = f"the workspace has {len(readings)} rules; {limit} are allowed: {_ADVICE}"
        yield Remark("error", workspace, "", "rules", text, "too-many-rules")
    contacts = set().union(*(_contacts(reading, types) for reading in readings))
    limit = quota("max_contacts", workspace)
    if len(contacts) > limit:
        text = (
            f"the workspace's rules name {len(contacts)} people, each counted once a channel; {limit} are allowed:"
            f" {_ADVICE}"
        )
        yield Remark("error", workspace, "", "targets", text, "too-many-contacts")


def _contacts(reading: Reading, types: Mapping[str, str]) -> set[tuple[str, str]]:
    """The people whom a rule reaches: pairs of channel and person."""
    found: set[tuple[str, str]] = set()
    for _, target in reading.targets():
        for each in (target, target.fallback):
            if each is not None:
                channel = types.get(each.conn_id, each.conn_id)
                found |= {(channel, person) for person in people(each.options)}
    return found


def people(options: Mapping[str, Any]) -> set[str]:
    """Whom a target's options name."""
    found: set[str] = set()
    for name in _ADDRESSES:
        found |= {address.casefold() for address in addresses(options.get(name))}
    for name in _PEOPLE:
        found |= {person.strip() for text in _texts(options.get(name)) for person in _SEPARATORS.split(text)}
    return found - {""}


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
