"""``airflow ml-events dispatcher``."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from ml_event_provider.cli.output import command


@command
def run(args: Any) -> None:
    """Run a dispatcher in this process."""
    from ml_event_provider import metrics
    from ml_event_provider.dispatch.process import DispatcherProcess, Settings

    metrics.start()
    logging.getLogger("ml_event_provider").setLevel(logging.INFO)
    settings = Settings.from_config()
    if args.workers:
        settings = replace(settings, workers=args.workers)
    process = DispatcherProcess(settings, parent=args.parent)
    if args.once:
        print(f"{process.drain_once()} attempt(s) made")
    else:
        process.run()
