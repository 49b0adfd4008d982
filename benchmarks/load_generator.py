"""What the load generator costs: one Locust process against a constant answer, and how late it is at given rates.

    PYTHONPATH=. .venv/bin/python benchmarks/load_generator.py

Writes benchmarks/results/load_generator.json. Rounds go over the rates in random order.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from archzero_lab.run_folders.environment import describe_machine
from archzero_lab.servers.ports import free_port
from archzero_lab.settings import ROOT

RESULT = ROOT / "benchmarks" / "results" / "load_generator.json"
RATES = (100, 500, 1_000)
ROUNDS, SECONDS = 6, 8


def locust(port: int, folder: Path, *arguments: str) -> dict[str, Any]:
    """One run of Locust on the constant server; its result."""
    out = folder / "out.json"
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "constant_users.py"), "--headless",
               "--host", f"http://127.0.0.1:{port}", "--only-summary", "--loglevel", "WARNING",
               "--result-file", str(out),
               "--warm-up-s", "2", "--run-time", str(SECONDS + 2), "--exit-code-on-error", "0", *arguments]  # fmt: skip
    catalog = folder / "catalog.json"
    names = ("ids", "common", "middling", "rare", "types", "phases")
    catalog.write_text(json.dumps({key: ["x"] for key in names}))
    done = subprocess.run(command, env={**os.environ, "ARCHZERO_CATALOG": str(catalog)}, capture_output=True, text=True)
    assert out.exists(), done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    assert found["failures"] == 0, found["failed_because"]
    out.unlink()
    return found


def main() -> None:
    """Measure and write the result."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "archzero_lab.jobs.report.constant_server", str(port)])
    closed: list[float] = []
    late: dict[int, list[dict[str, float]]] = {rate: [] for rate in RATES}
    try:
        with tempfile.TemporaryDirectory() as name:
            for number in range(ROUNDS):
                jobs = [0, *RATES]
                random.Random(number).shuffle(jobs)
                for rate in jobs:
                    if rate == 0:
                        found = locust(
                            port, Path(name), "--users", "32", "--spawn-rate", "32", "--think-time-s", "0", "Asks"
                        )
                        closed.append(found["achieved_rate_per_s"])
                    else:
                        found = locust(port, Path(name), "--arrival-rate", str(rate), "--users", "1", "Arrives")
                        told = {
                            "p50_ms": found["lateness_s"]["p50"] * 1000,
                            "p99_ms": found["lateness_s"]["p99"] * 1000,
                        }
                        late[rate].append(told | {"achieved_per_s": found["achieved_rate_per_s"]})
    finally:
        server.terminate()
        server.wait()
    result = {
        "closed_32_users_requests_per_s": {"median": statistics.median(closed), "rounds": closed},
        "lateness": {
            str(rate): {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
            | {"worst_p99_ms": round(max(row["p99_ms"] for row in rows), 3)}
            for rate, rows in late.items()
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    told = {"date": dt.date.today().isoformat(), "environment": describe_machine(), **result}
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
