"""How the events of two patterns relate: the same, one among the other's, some of both, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ml_event_provider.rules.analysis.contradiction import conflict, contradiction
from ml_event_provider.rules.analysis.demands import Demand, alternatives, block, both, canonical
from ml_event_provider.rules.analysis.fields import World, worlds
from ml_event_provider.rules.analysis.groups import certain, merged, split, trivial
from ml_event_provider.rules.analysis.values import search
from ml_event_provider.rules.analysis.witness import witness_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_event_provider.rules.analysis.demands import Alternative, Group
    from ml_event_provider.rules.analysis.fields import Field

Relation = Literal["equal", "a_in_b", "b_in_a", "overlap", "disjoint", "unknown"]


def relation(a: Mapping[str, Any], b: Mapping[str, Any], *, schemas: bool = True) -> Relation:
    """How the events that match ``a`` and those that match ``b`` relate.

    Every answer but ``"unknown"`` is certain; ``"overlap"`` says that some event matches both, and that
    neither was found to be in the other. What ``schemas`` means, ``never_matches`` says.

    :raises InvalidPattern: if a pattern is wrong.
    """
    left, right = alternatives(a), alternatives(b)
    together = both(left, right)
    if together is not None and contradiction(together, schemas=schemas) is not None:
        return "disjoint"
    within, around = _in(left, right, schemas), _in(right, left, schemas)
    if within and around:
        return "equal"
    if within:
        return "a_in_b"
    if around:
        return "b_in_a"
    if together is not None and witness_of(together, [a, b], schemas=schemas) is not None:
        return "overlap"
    return "unknown"


def _in(ones: Sequence[Alternative], others: Sequence[Alternative], schemas: bool) -> bool:
    """Whether every event that fulfils one of ``ones`` surely fulfils one of ``others``."""
    found: dict[World, list[list[Group]]] = {}
    for one in ones:
        for world in worlds(one, schemas=schemas):
            if conflict(one, world) is not None:
                continue
            if world not in found:
                found[world] = merged(_needed(other, world) for other in others)
            given = split(one, world)
            if not any(all(_implied(given, group, world) for group in other) for other in found[world]):
                return False
    return True


def _needed(alternative: Alternative, world: World) -> list[Group]:
    """The groups of demands that are not fulfilled anyway."""
    groups = [
        {path: demand for path, demand in group.items() if not trivial(demand, world.field(path))}
        for group in split(alternative, world)
    ]
    return [part for group in groups if group for part in split((group,), world)]


def _implied(given: Sequence[Group], group: Group, world: World) -> bool:
    """Whether an event that fulfils all ``given`` groups surely fulfils this one."""
    if len(group) == 1:
        ((path, demand),) = group.items()
        field = world.field(path)
        here = [each for each in given if path in each]
        if not field.arrays and _implies([each[path] for each in here], demand, field):
            return True
    # The same elements of arrays do, as long as a field that is missing from one is not asked about elsewhere.
    return any(
        group.keys() <= each.keys()
        and (each.keys() == group.keys() or not any(each[path].absent for path in group))
        and all(_implies([each[path]], demand, world.field(path)) for path, demand in group.items())
        for each in given
    )


def _implies(given: Sequence[Demand], demand: Demand, field: Field) -> bool:
    """Whether a value, or none, that fulfils all of ``given`` surely fulfils ``demand``."""
    if field.absent and not demand.absent and all(each.absent for each in given):
        return False
    rest = [_uncovered(each, demand) for each in given]
    if any(not each.elements for each in rest):
        return True
    wanted = [each.relaxed() for each in rest]
    found = search([*wanted, *field.bounds], [certain(demand)], field.kinds)
    return found.certain and not found.values


def _uncovered(given: Demand, demand: Demand) -> Demand:
    """The elements of ``given`` that do not stand in ``demand`` as well; those for a missing field aside."""
    blocks = [found for element in demand.plain if (found := block(element)) is not None]
    return Demand(
        element
        for element in given.elements
        if canonical(element) not in demand.key
        and element != {"exists": False}
        and not ((found := block(element)) and any(_inside(found, other) for other in blocks))
    )


def _inside(one: Any, other: Any) -> bool:
    return bool(one.version == other.version and one.subnet_of(other))
