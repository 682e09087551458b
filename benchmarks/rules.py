"""How fast the rule index is: ``python -m benchmarks.rules [--sizes 10 1000] [--kinds exact mixed]``.

For each kind of pattern and number of rules: rules built a second (each by its own ``add``), bytes a rule,
and events matched a second of CPU time in one thread, all different and parsed before. ``repeated`` is that
with 1,000 events again and again. Peers (moto, localstack-core) are timed with at most 1,000 rules where they
are installed.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks.rule_events import KINDS, event
from ml_event_provider.rules import PatternIndex

if TYPE_CHECKING:
    from collections.abc import Callable


def rate(events: list[dict[str, Any]], match: Callable[[dict[str, Any]], object]) -> float:
    """Events a second."""
    begin = time.process_time()
    for each in events:
        match(each)
    return len(events) / (time.process_time() - begin)


def run(kind: str, size: int, count: int) -> None:
    """Print one line of the table."""
    rng = random.Random(size)
    patterns = [KINDS[kind](rng, number) for number in range(size)]
    texts = [json.dumps(event(rng, max(size, 100))) for _ in range(count)]
    events = [json.loads(text) for text in texts]
    gc.collect()
    # The events and patterns are not what is measured.
    gc.freeze()
    index = PatternIndex()
    begin = time.process_time()
    for number, pattern in enumerate(patterns):
        index.add(f"rule-{number}", pattern)
    built = size / (time.process_time() - begin)
    hits = sum(len(index.match(each)) for each in events[:1000]) / min(1000, count)
    fresh = rate(events, index.match)
    few = events[:1000] * max(1, count // 1000)
    repeated = rate(few, index.match)
    memory = bytes_a_rule(patterns) if size <= 10_000 else bytes_a_rule(patterns[:20_000])
    others = "".join(f"  {name} {speed:,.0f}" for name, speed in peers(patterns, events[:200]).items())
    print(
        f"{kind:>9} {size:>8,} {built:>12,.0f} {memory:>9,.0f} {fresh:>11,.0f} {repeated:>11,.0f} {hits:>8.2f}{others}"
    )


def bytes_a_rule(patterns: list[dict[str, Any]]) -> float:
    """What the index keeps for each pattern, without the pattern itself."""
    gc.collect()
    tracemalloc.start()
    index = PatternIndex()
    for number, pattern in enumerate(patterns):
        index.add(f"rule-{number}", pattern)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / max(1, len(index))


def peers(patterns: list[dict[str, Any]], events: list[dict[str, Any]]) -> dict[str, float]:
    """Events a second of other matchers, which try each pattern in turn."""
    if len(patterns) > 1000:
        return {}
    found = {}
    try:
        from moto.events.models import EventPattern
    except ImportError:
        pass
    else:
        known = [EventPattern.load(json.dumps(pattern)) for pattern in patterns]
        found["moto"] = rate(events, lambda each: [one.matches_event(each) for one in known])
    try:
        from localstack.services.events.event_rule_engine import EventRuleEngine
    except ImportError:
        pass
    else:
        engine = EventRuleEngine()
        compiled = [engine.compile_event_pattern(json.dumps(pattern)) for pattern in patterns]
        found["localstack"] = rate(
            events, lambda each: [engine.evaluate_pattern_on_event(one, json.dumps(each)) for one in compiled]
        )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS))
    parser.add_argument("--events", type=int, default=20_000)
    chosen = parser.parse_args()
    heads = {"kind": 9, "rules": 8, "built/s": 12, "bytes": 9, "events/s": 11, "repeated/s": 11, "matches": 8}
    print(" ".join(f"{head:>{width}}" for head, width in heads.items()))
    for kind in chosen.kinds:
        for size in chosen.sizes:
            run(kind, size, chosen.events)


if __name__ == "__main__":
    main()
