"""Cached reads a second: this service over Redis and from its near cache, the least that any service does, and peers.

    PYTHONPATH=. .venv/bin/python benchmarks/cached_reads.py        (needs wrk: apt-get install wrk)

Same documents, server (uvicorn, one worker) and client; one core for the server and one for wrk; rounds interleaved in
random order; ratios with the signed-rank interval over the rounds, Redis commands a request beside them, and how many
reads of each cache were stale in the consistency harness. Writes benchmarks/results/cached_reads.json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis

from archzero_lab.jobs.consistency.harness import verify_consistency
from archzero_lab.postgres.connection import connect
from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.process import free_port
from archzero_lab.servers.stack import Stack, exclusive, running_stack
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.stats.comparison import compare
from archzero_lab.systems.arczero.consistency.histories import CardHistories
from archzero_lab.systems.arczero.peers import PEERS
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.systems.arczero.services import Serving, start_service

KEYS = 1_000
PAGES = 50
RESULT = ROOT / "benchmarks" / "results" / "cached_reads.json"
STALE_READS = 30_000
FASTAPI = {peer: f"FastAPI, {peer}" for peer in PEERS}
TARGETS = {
    "detail over Redis / bare ASGI with one GET": ("ours over Redis, detail", "bare ASGI, redis, detail", 1.0),
    "detail over Redis / FastAPI, fastapi-cache2": ("ours over Redis, detail", "FastAPI, fastapi-cache2, detail", 4.0),
    "detail over Redis / FastAPI, cashews": ("ours over Redis, detail", "FastAPI, cashews, detail", None),
    "detail over Redis / FastAPI, aiocache": ("ours over Redis, detail", "FastAPI, aiocache, detail", None),
    "list over Redis / detail over Redis": ("ours over Redis, list", "ours over Redis, detail", 0.8),
    "list over Redis / FastAPI, fastapi-cache2": ("ours over Redis, list", "FastAPI, fastapi-cache2, list", None),
    "detail near / bare ASGI from memory": ("ours, near cache, detail", "bare ASGI, memory, detail", 0.5),
}
P99 = ("ours over Redis, detail", "bare ASGI, redis, detail")
WRK = """
local paths = {}
for line in io.lines("%s") do paths[#paths + 1] = line end
request = function() return wrk.format("GET", paths[math.random(#paths)]) end
"""


def rate(url: str, script: Path, seconds: int, connections: int) -> tuple[float, float]:
    """(requests a second, p99 ms) of wrk on the second core."""
    done = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
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


def start_bare(stack: Stack, folder: Path, name: str, app: str, **variables: str) -> str:
    """An application on uvicorn, as our service runs on it; its URL."""
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "--interface", "asgi3", "--host", "127.0.0.1", "--port", str(port)]
    argv += [
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--ws",
        "none",
        "--no-access-log",
        "--log-level",
        "warning",
        app,
    ]
    env = {**os.environ, **variables, "BARE_REDIS_URL": stack.redis_url, "PYTHONPATH": str(ROOT)}
    stack.registry.spawn(f"bare-{name}", [*argv, app], log=folder / name, cwd=ROOT, env=env)
    return f"http://127.0.0.1:{port}"


def wait_for(url: str) -> bytes:
    """The body of a URL, asked for until it is there."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return bytes(urllib.request.urlopen(url).read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # polling: the application is starting


def start_targets(stack: Stack, folder: Path, database_url: str, ids: list[str]) -> dict[str, str]:
    """All services, each with every document in its cache; URLs by name."""
    far = replace(stack, settings=replace(stack.settings, cache=replace(stack.settings.cache, near_bytes=0)))
    targets = {
        "ours over Redis": start_service(far, Serving("treatment", database_url, cached=True)).url,
        "ours, near cache": start_service(stack, Serving("cache", database_url, cached=True)).url,
    }
    client = redis.Redis.from_url(stack.redis_url)
    for card_id in ids:
        client.set(f"bare:{card_id}", wait_for(f"{targets['ours over Redis']}/api/v1/cards/{card_id}"))
    app = "benchmarks.bare_asgi:app"
    targets["bare ASGI, redis"] = start_bare(stack, folder, "redis", app, BARE_MODE="redis")
    targets["bare ASGI, memory"] = start_bare(stack, folder, "memory", app, BARE_MODE="memory")
    for peer, name in FASTAPI.items():
        app = "benchmarks.peer_app:app"
        targets[name] = start_bare(stack, folder, peer, app, PEER=peer, PEER_DATABASE_URL=database_url)
    for target, url in targets.items():
        wait_for(f"{url}/api/v1/cards/{ids[0]}")
        for card_id in ids:
            urllib.request.urlopen(f"{url}/api/v1/cards/{card_id}").read()
        for page in range(1, PAGES + 1) if not target.startswith("bare") else ():
            urllib.request.urlopen(f"{url}/api/v1/cards?page={page}&pageSize=20").read()
    for record in stack.registry.records():
        if record.name.startswith(("service", "bare")):
            children = Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()
            for pid in (str(record.pid), *children):
                subprocess.run(["taskset", "-apc", "0", pid], check=True, capture_output=True)
    return targets


def commands(client: Any) -> int:
    """Commands that Redis has run so far, those inside scripts not counted apart."""
    stats = client.info("commandstats")
    return sum(int(entry["calls"]) for name, entry in stats.items() if name not in ("cmdstat_info", "cmdstat_ping"))


def measure(runs: list[Run], redis_url: str, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Rounds of every run in random order, after a warm-up of each."""
    client = redis.Redis.from_url(redis_url)
    found: dict[str, list[dict[str, float]]] = {run.name: [] for run in runs}
    for run in runs:
        rate(run.url, run.script, 1, options.connections)
    rng = random.Random(1)
    for _ in range(options.rounds):
        for run in rng.sample(runs, len(runs)):
            before = commands(client)
            requests, p99_ms = rate(run.url, run.script, options.seconds, options.connections)
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
    parser.add_argument("--rounds", type=int, default=8)
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
    ]
    ratios.append(ratio_of("p99 over Redis / bare ASGI with one GET", series(P99[1], "p99_ms"),
                           series(P99[0], "p99_ms"), 1.0, at_most=True))  # fmt: skip
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
