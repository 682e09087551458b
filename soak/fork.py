"""Imports what a dispatcher needs once, then forks one for each line that it reads. ``python -m soak.fork LOG``."""

from __future__ import annotations

import os
import signal
import sys


def main(log: str) -> None:
    """Fork a dispatcher for each line of standard input; write its process id."""
    from ml_event_provider import extensions
    from ml_event_provider.dispatch.process import DispatcherProcess, Settings
    from ml_event_provider.store.engine import engine

    extensions.targets()
    engine().dispose()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            # Airflow logs to standard output, where the process ids go.
            os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            engine().dispose(close=False)
            DispatcherProcess(Settings.from_config()).run()
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
