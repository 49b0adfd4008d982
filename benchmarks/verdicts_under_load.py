"""Smoke reports idle and beside four busy processes, in turn: may a claim hold in one and fail in another?

PYTHONPATH=. .venv/bin/python benchmarks/verdicts_under_load.py [--reports 20] [--busy 4]

Prints a table of verdicts for docs/method.md and keeps them in benchmarks/results/verdicts_under_load.json. Exits 1
where a claim was confirmed in one report and refuted in another.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archzero_lab.settings import CHECKOUT

RESULTS = CHECKOUT / "benchmarks" / "results" / "verdicts_under_load.json"
VERDICTS = ("confirmed", "refuted", "inconclusive")


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """So many processes that do nothing but take their share of the cores."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


def verdicts(seed: int) -> tuple[dict[str, str], float]:
    """The verdict of each claim in a smoke report of its own, and its seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as reports:
        subprocess.run(
            [str(CHECKOUT / "lab"), "report", "--profile", "smoke", "--no-notebooks", "--seed", str(seed)],
            env={**os.environ, "ARCHZERO_REPORTS": reports}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        summary = json.loads((Path(reports) / "latest" / "summary.json").read_text())
    return {claim["id"]: claim["verdict"] for claim in summary["claims"]}, time.monotonic() - began


def table(found: dict[str, list[dict[str, str]]]) -> list[str]:
    """A row a claim: how often it came out how, on the idle machine and beside the busy processes."""
    rows = ["| claim | idle: confirmed, refuted, inconclusive | busy |", "|---|---|---|"]
    for claim in found["idle"][0]:
        told = [Counter(run[claim] for run in found[how]) for how in ("idle", "busy")]
        cells = (", ".join(str(counts[verdict]) for verdict in VERDICTS) for counts in told)
        rows.append(f"| {claim} | {' | '.join(cells)} |")
    return rows


def contradictions(found: dict[str, list[dict[str, str]]]) -> list[str]:
    """The claims that were confirmed in one report and refuted in another."""
    runs = [*found["idle"], *found["busy"]]
    return [claim for claim in runs[0] if {"confirmed", "refuted"} <= {run[claim] for run in runs}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--busy", type=int, default=4)
    given = parser.parse_args()
    found: dict[str, list[dict[str, str]]] = {"idle": [], "busy": []}
    seconds: dict[str, list[float]] = {"idle": [], "busy": []}
    for number in range(given.reports):
        how = ("idle", "busy")[number % 2]
        with busy_processes(given.busy if how == "busy" else 0):
            told, took = verdicts(number + 1)
        found[how].append(told)
        seconds[how].append(round(took, 1))
        # each at once: a run of half an hour that is stopped keeps what it has
        RESULTS.write_text(json.dumps({"verdicts": found, "seconds": seconds, "busy": given.busy}, indent=1) + "\n")
        print(f"{number + 1} of {given.reports}, {how}: {dict(Counter(told.values()))} in {took:.0f} s", flush=True)
    print("\n".join(table(found)))
    if wrong := contradictions(found):
        sys.exit(f"confirmed in one report and refuted in another: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
