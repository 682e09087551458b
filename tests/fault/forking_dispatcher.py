"""Starts real dispatcher processes quickly: imports once, then forks one for each line that it reads.

``python -m tests.fault.forking_dispatcher``: writes the process id of each; they end with SIGKILL or SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Fork a dispatcher for each line of standard input."""
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
            # Airflow logs to standard output, where the process ids go; what a dispatcher says belongs to the test.
            os.dup2(2, 1)
            engine().dispose(close=False)
            DispatcherProcess(Settings.from_config()).run()
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
