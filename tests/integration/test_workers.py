"""A service of several worker processes: the death of one is not the others'."""

from __future__ import annotations

import time
from contextlib import suppress

import httpx
import psutil

from archzero_lab.servers.process import is_alive
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.services import Serving, start_service


def _alive(master: psutil.Process) -> set[int]:
    found = set()
    for worker in master.children():
        with suppress(psutil.NoSuchProcess):  # reaped meanwhile
            if worker.status() != psutil.STATUS_ZOMBIE:
                found.add(worker.pid)
    return found


def _listens(worker: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in worker.net_connections())


def test_a_worker_that_is_killed_comes_back_and_the_others_never_stop(stack: Stack, database_url: str) -> None:
    service = start_service(stack, Serving("respawn", database_url, cached=False, workers=2))
    try:
        master = psutil.Process(service.record.pid)
        deadline = time.monotonic() + 60
        while len(before := {worker.pid for worker in master.children() if _listens(worker)}) < 2:
            assert time.monotonic() < deadline, "two workers did not begin to listen"
        psutil.Process(min(before)).kill()
        answered = 0
        while len(now := _alive(master)) < 2 or now == before or not answered:
            assert time.monotonic() < deadline, "it did not come back"
            with suppress(httpx.RemoteProtocolError):  # a connection of the dead one's
                assert httpx.get(service.url + "/api/v1/cards?pageSize=1", timeout=30).status_code == 200
                answered += 1
        assert max(before) in now
        assert is_alive(service.record)
    finally:
        stack.registry.stop(service.record)


def test_workers_end_with_the_process_that_started_them(stack: Stack, database_url: str) -> None:
    service = start_service(stack, Serving("orphans", database_url, cached=False, workers=2))
    master = psutil.Process(service.record.pid)
    deadline = time.monotonic() + 60
    while len(workers := [worker for worker in master.children() if _listens(worker)]) < 2:
        assert time.monotonic() < deadline, "two workers did not begin to listen"
    master.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
