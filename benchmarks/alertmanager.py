"""The peer beside us: notifications a second that Prometheus' Alertmanager sends to the same receiver.

``python -m benchmarks.alertmanager [--alerts N]``. Debian's package ``prometheus-alertmanager``; each alert is a group,
and so a request, of its own. It keeps what it has to send in memory, and a restart forgets what was not sent.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import requests

from lab.ports import free_port

PROGRAM = "prometheus-alertmanager"
CONFIG = """
route:
  receiver: sink
  group_by: ['...']
  group_wait: 0s
  group_interval: 1h
  repeat_interval: 24h
receivers:
  - name: sink
    webhook_configs:
      - url: http://127.0.0.1:{port}/webhook
        send_resolved: false
"""
_SENT = re.compile(r'^alertmanager_notifications_total\{integration="webhook"\} (\S+)$', re.MULTILINE)
_FAILED = re.compile(r'^alertmanager_notifications_failed_total\{integration="webhook".*\} (\S+)$', re.MULTILINE)


def measure(count: int, folder: Path) -> tuple[float, float]:
    """Notifications a second from the first alert handed over to the last sent, and its CPU in ms for each."""
    sink_port, port = free_port(), free_port()
    (folder / "alertmanager.yml").write_text(CONFIG.format(port=sink_port))
    sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(sink_port)])
    server = subprocess.Popen(
        [
            PROGRAM,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url)
        session = requests.Session()
        process = psutil.Process(server.pid)
        before = sum(process.cpu_times()[:2])
        started = time.perf_counter()
        for first in range(0, count, 100):
            session.post(
                f"{url}/api/v2/alerts", json=_alerts(first, min(100, count - first)), timeout=10
            ).raise_for_status()
        while _count(session, url, _SENT) < count:
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        if failed := _count(session, url, _FAILED):
            raise RuntimeError(f"{failed:g} notifications failed")
        return count / seconds, 1000 * (sum(process.cpu_times()[:2]) - before) / count
    finally:
        server.kill()
        sink.kill()
        server.wait()
        sink.wait()


def _alerts(first: int, count: int) -> list[dict[str, object]]:
    starts = datetime.now(UTC).isoformat()
    return [
        {
            "labels": {"alertname": "bench.task.failed", "dag_id": "train", "task_id": "fit", "n": str(number)},
            "annotations": {"text": "x" * 700},
            "startsAt": starts,
        }
        for number in range(first, first + count)
    ]


def _count(session: requests.Session, url: str, metric: re.Pattern[str]) -> float:
    found = metric.findall(session.get(f"{url}/metrics", timeout=10).text)
    return sum(map(float, found))


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            if requests.get(f"{url}/-/ready", timeout=1).ok:
                return
        except requests.RequestException:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--alerts", type=int, default=5000)
    arguments = parser.parse_args()
    if shutil.which(PROGRAM) is None:
        print(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
        return
    with tempfile.TemporaryDirectory() as folder:
        rate, cpu = measure(arguments.alerts, Path(folder))
    print(f"Alertmanager: {arguments.alerts} alerts, {rate:,.0f} notifications/s, {cpu:.2f} CPU ms each")


if __name__ == "__main__":
    main()
