"""``airflow ml-events dispatcher``."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from ml_event_provider.cli.output import command


@command
def run(args: Any) -> None:
    """Run a dispatcher in this process."""
    from airflow._shared.observability.metrics import stats
    from airflow.configuration import conf
    from airflow.observability.metrics import stats_utils

    from ml_event_provider.dispatch.process import DispatcherProcess, Settings

    stats.initialize(
        factory=stats_utils.get_stats_factory(),
        export_legacy_names=conf.getboolean("metrics", "legacy_names_on", fallback=True),
    )
    logging.getLogger("ml_event_provider").setLevel(logging.INFO)
    settings = Settings.from_config()
    if args.workers:
        settings = replace(settings, workers=args.workers)
    process = DispatcherProcess(settings, parent=args.parent)
    if args.once:
        print(f"{process.drain_once()} attempt(s) made")
    else:
        process.run()
