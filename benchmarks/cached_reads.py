"""Cached reads a second: this service over Redis and from its near cache, the least that any service does, peers, Go.

    PYTHONPATH=. .venv/bin/python benchmarks/cached_reads.py        (needs wrk: apt-get install wrk; and go, for Go)

Same documents, client and, of those in Python, server (uvicorn, one worker); one core for the server and one for wrk,
but for four workers and for Go on two cores, which share both with wrk. Rounds interleaved in random order; ratios with
the signed-rank interval over the rounds, Redis commands a request beside them, and how many reads of each cache were
stale in the consistency harness. Writes benchmarks/results/cached_reads.json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from archzero_lab.jobs.consistency.harness import verify_consistency
from archzero_lab.postgres.connection import connect
from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.stats.comparison import compare
from archzero_lab.systems.arczero.consistency.histories import CardHistories
from archzero_lab.systems.arczero.peers import PEERS
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from benchmarks.cached_targets import FASTAPI, PAGES, WHOLE_MACHINE, start_targets

KEYS = 1_000
RESULT = ROOT / "benchmarks" / "results" / "cached_reads.json"
STALE_READS = 30_000
TARGETS = {
    "detail over Redis / Go": ("ours over Redis, detail", "Go, detail", 0.5),
    "detail near / Go near": ("ours, near cache, detail", "Go near, detail", 0.25),
    "four workers / Go on two cores": ("ours, four workers, detail", "Go, two cores, detail", 0.5),
    "detail over Redis / bare ASGI with one GET": ("ours over Redis, detail", "bare ASGI, redis, detail", 1.0),
    "detail over Redis / FastAPI, fastapi-cache2": ("ours over Redis, detail", "FastAPI, fastapi-cache2, detail", 4.0),
    "detail over Redis / FastAPI, cashews": ("ours over Redis, detail", "FastAPI, cashews, detail", None),
    "detail over Redis / FastAPI, aiocache": ("ours over Redis, detail", "FastAPI, aiocache, detail", None),
    "list over Redis / detail over Redis": ("ours over Redis, list", "ours over Redis, detail", 0.8),
    "list over Redis / FastAPI, fastapi-cache2": ("ours over Redis, list", "FastAPI, fastapi-cache2, list", None),
    "detail near / bare ASGI from memory": ("ours, near cache, detail", "bare ASGI, memory, detail", 0.5),
}
P99 = {
    "p99 over Redis / Go": ("ours over Redis, detail", "Go, detail", 2.0),
    "p99 near / Go near": ("ours, near cache, detail", "Go near, detail", 2.0),
    "p99 of four workers / Go on two cores": ("ours, four workers, detail", "Go, two cores, detail", 2.0),
    "p99 over Redis / bare ASGI with one GET": ("ours over Redis, detail", "bare ASGI, redis, detail", 1.0),
}
WRK = """
local paths = {}
for line in io.lines("%s") do paths[#paths + 1] = line end
request = function() return wrk.format("GET", paths[math.random(#paths)]) end
"""


def rate(url: str, script: Path, seconds: int, connections: int, cores: str) -> tuple[float, float]:
    """(requests a second, p99 ms) of wrk on these cores."""
    load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    done = subprocess.run(["taskset", "-c", cores, *load], capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"wrong answers from {url}:\n{done.stdout}")
    requests = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    assert requests is not None
    assert p99 is not None
    return float(requests.group(1)), float(p99.group(1)) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99.group(2)]


@dataclass(frozen=True)
class Run:
    """Something to load: a target and what is asked of it."""

    target: str
    kind: str
    url: str
    script: Path

    @property
    def name(self) -> str:
        return f"{self.target}, {self.kind}"

    @property
    def cores(self) -> str:
        """Where wrk runs."""
        return "0,1" if self.target in WHOLE_MACHINE else "1"


def commands(client: Any) -> int:
    """Commands that Redis has run so far, those inside scripts not counted apart."""
    stats = client.info("commandstats")
    return sum(int(entry["calls"]) for name, entry in stats.items() if name not in ("cmdstat_info", "cmdstat_ping"))


def measure(runs: list[Run], redis_url: str, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Rounds of every run in random order, after a warm-up of each."""
    client = redis.Redis.from_url(redis_url)
    found: dict[str, list[dict[str, float]]] = {run.name: [] for run in runs}
    for run in runs:
        rate(run.url, run.script, 1, options.connections, run.cores)
    rng = random.Random(1)
    for _ in range(options.rounds):
        for run in rng.sample(runs, len(runs)):
            before = commands(client)
            requests, p99_ms = rate(run.url, run.script, options.seconds, options.connections, run.cores)
            sent = (commands(client) - before) / (requests * options.seconds)
            found[run.name].append({"requests_per_s": requests, "p99_ms": p99_ms, "commands": sent})
    return found


def ratio_of(what: str, base: list[float], ours: list[float], target: float | None, at_most: bool) -> dict[str, Any]:
    """ours / base with its interval, and whether the whole interval meets the target."""
    found = compare(base, ours)
    met = None
    if target is not None:
        met = found.ci_high <= target if at_most else found.ci_low >= target
    numbers = {
        "ratio": round(found.effect_size, 3),
        "ci_low": round(found.ci_low, 3),
        "ci_high": round(found.ci_high, 3),
    }
    return {"what": what, **numbers, "target": target, "met": met}


def median(values: list[float], digits: int) -> float:
    """The middle one, rounded."""
    return round(sorted(values)[len(values) // 2], digits)


def main() -> None:
    """Run the rounds, then the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("needs wrk; run: apt-get install wrk")
    settings = load_settings()
    with exclusive("benchmark"), tempfile.TemporaryDirectory() as name, running_stack(settings) as stack:
        folder = Path(name)
        base = ensure_base(stack, choose_portfolio(20_000, 1, None, None), lambda share: None)
        urls = make_arms(stack, base, "bench", lambda *_: None)
        try:
            with connect(urls["treatment"]) as connection:
                ids = [str(row[0]) for row in connection.execute(f"SELECT id FROM cards ORDER BY id LIMIT {KEYS}")]
            targets = start_targets(stack, folder, urls["treatment"], ids)
            paths = {"detail": [f"/api/v1/cards/{card_id}" for card_id in ids]}
            paths["list"] = [f"/api/v1/cards?page={page}&pageSize=20" for page in range(1, PAGES + 1)]
            scripts = {}
            for kind, lines in paths.items():
                (folder / kind).write_text("\n".join(lines) + "\n")
                scripts[kind] = folder / f"{kind}.lua"
                scripts[kind].write_text(WRK % (folder / kind))
            runs = [Run(target, "detail", url, scripts["detail"]) for target, url in targets.items()]
            listed = ("ours over Redis", "ours, near cache", *FASTAPI.values())
            runs += [Run(target, "list", targets[target], scripts["list"]) for target in listed]
            found = measure(runs, stack.redis_url, options)
        finally:
            drop_arms(stack, "bench")
        for record in stack.registry.records():
            if record.name.startswith(("service", "bare")):
                stack.registry.stop(record)
        stale = {}
        for peer in (None, *PEERS):
            verdict = verify_consistency(CardHistories(), stack, reads=STALE_READS, of=peer).verdict
            stale[FASTAPI[peer] if peer else "ours over Redis"] = {
                "reads": verdict.reads,
                "stale_share": round(len(verdict.late_ms) / verdict.reads, 6),
            }
        environment = describe(stack)

    def series(name: str, what: str) -> list[float]:
        return [row[what] for row in found[name]]

    ratios = [
        ratio_of(what, series(theirs, "requests_per_s"), series(ours, "requests_per_s"), target, at_most=False)
        for what, (ours, theirs, target) in TARGETS.items()
        if theirs in found
    ]
    ratios += [
        ratio_of(what, series(theirs, "p99_ms"), series(ours, "p99_ms"), target, at_most=True)
        for what, (ours, theirs, target) in P99.items()
        if theirs in found
    ]
    result = {
        "date": dt.date.today().isoformat(),
        "environment": environment,
        "connections": options.connections,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "medians": {
            name: {
                "requests_per_s": median(series(name, "requests_per_s"), 0),
                "p99_ms": median(series(name, "p99_ms"), 2),
                "redis_commands_a_request": median(series(name, "commands"), 3),
            }
            for name in found
        },
        "ratios": ratios,
        "stale": stale,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: result[name] for name in ("medians", "ratios", "stale")}, indent=1))


if __name__ == "__main__":
    main()
