"""How fast the rule index is: ``python -m benchmarks.rules [--sizes 10 1000] [--kinds exact mixed]``.

For each kind of pattern and number of rules: rules built a second (each by its own ``add``, and all by one
``update``), bytes a rule, and events matched a second in one thread, all different, after as many others as it takes
the index to settle. ``events/s`` is with events parsed just before, a batch of 100 at a time, as a dispatcher does;
the parsing is not counted. ``cold`` is with all 20,000 parsed before, so that most of the time goes into fetching them
from memory. Both are the best of three passes with other events, and ``update`` is the best of three. All times are
CPU time of the process, so that other work on the machine counts less.

Where PyPI's moto, localstack-core or ministack are installed, their matchers, which try each pattern in turn, are
timed on the same patterns and a few of the same events, with at most 1,000 rules. ``differ`` counts the pairs of event
and rule for which they do not say what we say. Only the standard library is needed for the rest.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
import tracemalloc
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.rule_events import KINDS, SAME, event
from ml_event_provider.rules import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Json = dict[str, Any]

#: An index of so many rules has settled after a sixteenth of them in events, and these.
SETTLES = 200
BATCH = 100
PASSES = 3


def rate(items: Iterable[Any], do: Callable[[Any], object]) -> float:
    """Items a second."""
    items = list(items)
    begin = time.process_time()
    for each in items:
        do(each)
    return len(items) / (time.process_time() - begin)


def parsed_rate(texts: list[str], do: Callable[[Any], object]) -> float:
    """Items a second that were JSON just before."""
    took = 0.0
    for start in range(0, len(texts), BATCH):
        items = [json.loads(text) for text in texts[start : start + BATCH]]
        begin = time.process_time()
        for each in items:
            do(each)
        took += time.process_time() - begin
    return len(texts) / took


def add_rate(patterns: dict[str, Json]) -> float:
    """Rules a second, each added by itself."""
    index = PatternIndex()
    return rate(patterns.items(), lambda item: index.add(*item))


def run(kind: str, size: int, count: int) -> None:
    """Print one line of the table, and one for each peer."""
    rng = random.Random(size)
    patterns = {f"rule-{number}": KINDS[kind](rng, number) for number in range(size)}
    own = {name: value for name, (value,) in SAME.items()} if kind == "one_type" else {}
    before = [event(rng, max(size, 100)) | own for _ in range(size // 16 + SETTLES)]
    built = add_rate(patterns)
    at_once = max([size * rate([patterns], PatternIndex) for _ in range(PASSES)])
    index = PatternIndex(patterns)
    for each in before:
        index.match(each)
    just_parsed = cold = 0.0
    for _ in range(PASSES):
        texts = [json.dumps(event(rng, max(size, 100)) | own) for _ in range(count)]
        just_parsed = max(just_parsed, parsed_rate(texts, index.match))
        events = [json.loads(text) for text in texts]
        cold = max(cold, rate(events, index.match))
    hits = sum(len(index.match(each)) for each in events[:1000]) / min(1000, count)
    memory = bytes_a_rule(dict([*patterns.items()][:20_000]), before)
    print(
        f"{kind:>9} {size:>8,} {built:>9,.0f} {at_once:>9,.0f} {memory:>7,.0f} {just_parsed:>10,.0f} {cold:>10,.0f}"
        f" {hits:>8.2f}",
        flush=True,
    )
    if size <= 1000:
        for name, peer in PEERS.items():
            few = events[: max(20, 2000 // size)]
            print(f"{name:>27}: {timed(peer, patterns, few, index)}", flush=True)


def bytes_a_rule(patterns: dict[str, Json], events: list[Json]) -> float:
    """What a settled index keeps for each pattern, without the pattern itself."""
    gc.collect()
    tracemalloc.start()
    index = PatternIndex()
    for name, pattern in patterns.items():
        index.add(name, pattern)
    for each in events:
        index.match(each)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / max(1, len(index))


def moto(pattern: Json) -> Callable[[Json], bool]:
    """The matcher of moto."""
    made = import_module("moto.events.models").EventPattern(json.dumps(pattern), pattern)
    matches: Callable[[Json], bool] = made.matches_event
    return matches


def localstack(pattern: Json) -> Callable[[Json], bool]:
    """The matcher of localstack-core."""
    engine = import_module("localstack.services.events.event_rule_engine")
    compiled = engine.EventPatternCompiler().compile_event_pattern(json.dumps(pattern))
    evaluate = engine.EventRuleEngine().evaluate_pattern_on_event
    return lambda each: evaluate(compiled, each)


def ministack(pattern: Json) -> Callable[[Json], bool]:
    """The matcher of ministack."""
    bridge = import_module("ministack.services.eventbridge")
    alternatives, reason = bridge._parse_pattern_text(json.dumps(pattern))
    if alternatives is None:
        raise ValueError(reason)
    return lambda each: any(bridge._matches_detail(each, one) for one in alternatives)


PEERS = {"moto": moto, "localstack-core": localstack, "ministack": ministack}


def timed(
    peer: Callable[[Json], Callable[[Json], bool]], patterns: dict[str, Json], events: list[Json], index: PatternIndex
) -> str:
    """What one peer does with the patterns and events."""
    try:
        made = {name: peer(pattern) for name, pattern in patterns.items()}
        found: list[set[str]] = []
        speed = rate(events, lambda each: found.append({name for name, match in made.items() if match(each)}))
    except ImportError as error:
        return f"n/a: not installed ({error})"
    except Exception as error:  # noqa: BLE001  (a peer may refuse an operator in any way)
        return f"n/a: {type(error).__name__}: {error}"
    differ = sum(len(theirs ^ index.match(each)) for theirs, each in zip(found, events, strict=True))
    return f"{speed:,.1f} events/s on {len(events)} events, differ {differ} of {len(events) * len(patterns)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS))
    parser.add_argument("--events", type=int, default=20_000)
    chosen = parser.parse_args()
    heads = {"kind": 9, "rules": 8, "add/s": 9, "update/s": 9, "bytes": 7, "events/s": 10, "cold": 10}
    print(" ".join(f"{head:>{width}}" for head, width in heads.items()), " matches")
    for kind in chosen.kinds:
        for size in chosen.sizes:
            run(kind, size, chosen.events)


if __name__ == "__main__":
    main()
