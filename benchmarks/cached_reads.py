"""Cached reads a second: this service over Redis and from its near cache, beside the least that any service does.

    PYTHONPATH=. .venv/bin/python benchmarks/cached_reads.py        (needs wrk: apt-get install wrk)

Same documents, server (Granian, one worker) and client; one core for the server and one for wrk; rounds interleaved in
random order; ratios with the signed-rank interval over the rounds. Prints JSON.
"""

from __future__ import annotations

import argparse
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
from dataclasses import replace
from pathlib import Path

import redis

from archzero_lab.bootstrap.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.bootstrap.services import start_service
from archzero_lab.bootstrap.stack import exclusive, running_stack
from archzero_lab.postgres.migrations import connect
from archzero_lab.servers.process import free_port
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.stats.comparison import compare

KEYS = 1_000
WRK = """
local paths = {}
for line in io.lines("%s") do paths[#paths + 1] = line end
request = function() return wrk.format("GET", paths[math.random(#paths)]) end
"""


def rate(url: str, script: Path, seconds: float, connections: int) -> tuple[float, float]:
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


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2)
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
            with connect(urls["control"]) as connection:
                ids = [str(row[0]) for row in connection.execute(f"SELECT id FROM cards ORDER BY id LIMIT {KEYS}")]
            targets = {}
            far = replace(stack, settings=replace(settings, cache=replace(settings.cache, near_bytes=0)))
            targets["ours over Redis"] = start_service(far, "treatment", urls["control"], cached=True).url
            targets["ours, near cache"] = start_service(stack, "cache", urls["control"], cached=True).url
            client = redis.Redis.from_url(stack.redis_url)
            for card_id in ids:
                for target in targets.values():
                    body = urllib.request.urlopen(f"{target}/api/v1/cards/{card_id}").read()
                client.set(f"bare:{card_id}", body)
            for mode in ("redis", "memory"):
                port = free_port()
                argv = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1"]
                argv += ["--port", str(port), "--loop", "uvloop", "--no-ws", "--log-level", "warning"]
                argv.append("benchmarks.bare_asgi:app")
                stack.registry.spawn(
                    f"bare-{mode}", argv, log=folder / mode, cwd=ROOT,
                    env={**os.environ, "BARE_MODE": mode, "BARE_REDIS_URL": stack.redis_url, "PYTHONPATH": str(ROOT)},
                )  # fmt: skip
                targets[f"bare ASGI, {mode}"] = f"http://127.0.0.1:{port}"
            for record in stack.registry.records():
                if record.name.startswith(("service", "bare")):
                    for pid in (
                        record.pid,
                        *Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split(),
                    ):
                        subprocess.run(["taskset", "-apc", "0", str(pid)], check=True, capture_output=True)
            paths = {"detail": [f"/api/v1/cards/{card_id}" for card_id in ids]}
            paths["list"] = [f"/api/v1/cards?page={page}&pageSize=20" for page in range(1, 51)]
            scripts = {}
            for kind, lines in paths.items():
                (folder / kind).write_text("\n".join(lines) + "\n")
                scripts[kind] = folder / f"{kind}.lua"
                scripts[kind].write_text(WRK % (folder / kind))
            runs = [(target, "detail") for target in targets] + [
                ("ours over Redis", "list"),
                ("ours, near cache", "list"),
            ]
            results: dict[str, list[tuple[float, float]]] = {f"{target}, {kind}": [] for target, kind in runs}
            time.sleep(1)  # the bare applications start
            for target, kind in runs:
                rate(targets[target], scripts[kind], 1, options.connections)
            rng = random.Random(1)
            for _ in range(options.rounds):
                rng.shuffle(runs)
                for target, kind in runs:
                    measured = rate(targets[target], scripts[kind], options.seconds, options.connections)
                    results[f"{target}, {kind}"].append(measured)
        finally:
            drop_arms(stack, "bench")
    rates = {name: [requests for requests, _ in found] for name, found in results.items()}
    pairs = {
        "detail over Redis / bare ASGI with one GET": ("ours over Redis, detail", "bare ASGI, redis, detail", 1.0),
        "detail near / bare ASGI from memory": ("ours, near cache, detail", "bare ASGI, memory, detail", 0.5),
        "list over Redis / detail over Redis": ("ours over Redis, list", "ours over Redis, detail", 0.8),
    }
    ratios = {}
    for what, (ours, theirs, target) in pairs.items():
        found = compare(rates[theirs], rates[ours])
        ratios[what] = {
            "ratio": round(found.effect_size, 3),
            "ci_low": round(found.ci_low, 3),
            "ci_high": round(found.ci_high, 3),
            "target": target,
            "met": found.ci_low >= target,
        }
    medians = {
        name: {
            "requests_per_s": round(sorted(r for r, _ in found)[len(found) // 2]),
            "p99_ms": round(sorted(p for _, p in found)[len(found) // 2], 2),
        }
        for name, found in results.items()
    }
    print(
        json.dumps(
            {"connections": options.connections, "rounds": options.rounds, "medians": medians, "ratios": ratios},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
