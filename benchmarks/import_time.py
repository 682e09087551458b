"""What the plugin adds to the start of each task process, beside the OpenLineage provider's plugin.

Each figure is from fresh processes: one imports what an Airflow task process has (``--base``), then each
module of one group in turn, timed. Groups take turns, so that load on the machine touches all alike. The
first round warms the file cache and does not count. Our group holds the plugin, which every process
imports, and then what only the first event of a process needs. OpenLineage has a transport configured, or
its plugin would import nothing. ``--group NAME=MODULE,MODULE`` measures other modules.

    python -m benchmarks.import_time
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
BASE = "airflow.sdk.execution_time.task_runner,airflow.sdk.execution_time.supervisor,airflow.plugins_manager"
GROUPS = (
    "ml_events=ml_event_provider.plugins.ml_events,ml_event_provider.sources.airflow,ml_event_provider.hooks.ml_events",
    "openlineage=airflow.providers.openlineage.plugins.openlineage",
)
#: Prints, for each module, [milliseconds, modules loaded, KiB of memory added], after the base is there.
PROBE = """
import json, resource, sys, time
from importlib import import_module

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024

base, names = sys.argv[1], sys.argv[2]
for name in filter(None, base.split(",")):
    import_module(name)
found = []
for name in names.split(","):
    loaded, used, start = len(sys.modules), memory(), time.perf_counter()
    import_module(name)
    found.append([(time.perf_counter() - start) * 1000, len(sys.modules) - loaded, memory() - used])
print(json.dumps(found))
"""


def probe(base: str, modules: str, home: str) -> list[list[float]]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "console"}),
    }
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PROBE, base, modules],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise SystemExit(f"{modules} cannot be imported:\n{done.stderr}")
    # Airflow may print before the probe does.
    result: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


def spread(values: list[float]) -> str:
    return f"{median(values):8.1f}  ({min(values):.1f} - {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="processes for each group, after the warm-up")
    parser.add_argument("--base", default=BASE, help="modules that the process has already, by commas")
    parser.add_argument("--group", action="append", metavar="NAME=MODULE,…", help="instead of the two built in")
    arguments = parser.parse_args()
    groups = dict(group.split("=", 1) for group in arguments.group or GROUPS)
    results: dict[str, list[list[list[float]]]] = {name: [] for name in groups}
    with TemporaryDirectory() as home:
        for number in range(arguments.runs + 1):
            for name, modules in groups.items():
                result = probe(arguments.base, modules, home)
                if number:
                    results[name].append(result)
    print(f"median of {arguments.runs} processes (least - most), after {arguments.base}\n")
    for name, modules in groups.items():
        totals = [[sum(column) for column in zip(*run, strict=True)] for run in results[name]]
        print(f"{name}: {spread([total[0] for total in totals])} ms in all")
        for index, module in enumerate(modules.split(",")):
            runs = [run[index] for run in results[name]]
            print(
                f"    {module:<60} {spread([run[0] for run in runs])} ms"
                f"  {median(run[1] for run in runs):5.0f} modules  {median(run[2] for run in runs):7.0f} KiB"
            )


if __name__ == "__main__":
    main()
