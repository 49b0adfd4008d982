"""What cached reads are measured on: this service, ASGI applications around Redis, FastAPI with caches, and Go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import redis

from archzero_lab.servers.ports import free_port
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.peers import PEERS
from archzero_lab.systems.arczero.services import Serving, start_service

PAGES = 50
FASTAPI = {peer: f"FastAPI, {peer}" for peer in PEERS}
WHOLE_MACHINE = ("ours, four workers", "Go, two cores")
"""These run on both cores, as the client does; all others on the first alone."""


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
    stack.registry.spawn(f"bare-{name}", argv, log=folder / name, cwd=ROOT, env=env)
    return f"http://127.0.0.1:{port}"


def build_go(folder: Path) -> Path | None:
    """The program of benchmarks/go_peer, None where there is no `go`; `go` fetches its modules."""
    go = shutil.which("go")
    if go is None:
        print("no go here: the ratios to Go are left out")
        return None
    program = folder / "go_peer"
    subprocess.run([go, "build", "-o", str(program), "."], cwd=ROOT / "benchmarks" / "go_peer", check=True)
    return program


def start_go(stack: Stack, folder: Path, name: str, program: Path, mode: str, cores: int) -> str:
    """The Go program, reading through its client-side cache where `mode` is near; its URL."""
    port, place = free_port(), urlsplit(stack.redis_url)
    variables = {
        "REDIS": f"{place.hostname}:{place.port}",
        "PASSWORD": place.password or "",
        "PEER_MODE": mode,
        "PORT": str(port),
        "GOMAXPROCS": str(cores),
    }
    stack.registry.spawn(f"bare-{name}", [str(program)], log=folder / name, cwd=ROOT, env={**os.environ, **variables})
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
        "ours, four workers": start_service(far, Serving("four", database_url, cached=True, workers=4)).url,
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
    program = build_go(folder)
    if program is not None:
        targets["Go"] = start_go(stack, folder, "go-far", program, "far", 1)
        targets["Go near"] = start_go(stack, folder, "go-near", program, "near", 1)
        targets["Go, two cores"] = start_go(stack, folder, "go-two", program, "far", 2)
    for target, url in targets.items():
        wait_for(f"{url}/api/v1/cards/{ids[0]}")
        for card_id in ids:
            urllib.request.urlopen(f"{url}/api/v1/cards/{card_id}").read()
        for page in range(1, PAGES + 1) if not target.startswith(("bare", "Go")) else ():
            urllib.request.urlopen(f"{url}/api/v1/cards?page={page}&pageSize=20").read()
    for record in stack.registry.records():
        if record.name.startswith(("service", "bare")) and record.name not in ("service-four", "bare-go-two"):
            children = Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()
            for pid in (str(record.pid), *children):
                subprocess.run(["taskset", "-apc", "0", pid], check=True, capture_output=True)
    return targets
