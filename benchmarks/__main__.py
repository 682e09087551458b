"""All benchmarks, one after the other: ``python -m benchmarks``. Half an hour on two cores."""

from __future__ import annotations

import subprocess
import sys

ALL = (
    "import_time",
    "hand_over",
    "latency",
    "throughput",
    "alertmanager",
    "workspaces",
    "fairness",
    "reconciler",
    "rules",
    "backtest",
    "drift",
)


def main() -> int:
    """Run each in a process of its own; the exit code says whether all ran."""
    failed = [
        name for name in ALL if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
    ]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
