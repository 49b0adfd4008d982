"""Connections that send nothing, or never come to an end, stop nobody else."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE
from archzero_lab.systems.arczero.api.imports import OF_ONE
from archzero_lab.systems.arczero.services import Serving, start_service

FIRST = {
    "silent": b"",
    "in the midst of headers": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    "between requests": b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "in the midst of a body": b"POST /api/v1/cards HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 500\r\n\r\n{",
}


@pytest.fixture(scope="module")
def service(stack: Stack, database_url: str) -> Iterator[httpx.Client]:
    """Of one worker, which nobody helps."""
    service = start_service(stack, Serving("held", database_url, cached=True))
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client
    stack.registry.stop(service.record)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for connections on this side of them."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4_096 if most == resource.RLIM_INFINITY else min(4_096, most)
    if wanted < 2_500:
        pytest.skip(f"this machine lets a process open {wanted} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, wanted), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_a_thousand_connections_that_are_held_stop_nobody_else(service: httpx.Client, first: bytes) -> None:
    place = urlsplit(str(service.base_url))
    held = []
    try:
        for _ in range(1_100):
            one = socket.create_connection((place.hostname, place.port), timeout=30)
            one.sendall(first)
            held.append(one)
        for _ in range(5):
            # a new connection each
            assert (
                httpx.get(f"{str(service.base_url).rstrip(chr(47))}/api/v1/cards?pageSize=1", timeout=30).status_code
                == 200
            )
    finally:
        for one in held:
            one.close()


def test_what_is_cut_off_or_broken_leaves_no_line_in_the_log(stack: Stack, database_url: str) -> None:
    service = start_service(stack, Serving("cutoff", database_url, cached=False))
    place = urlsplit(service.url)
    try:
        for first in (FIRST["in the midst of a body"], FIRST["in the midst of headers"], b"nonsense\r\n\r\n"):
            with socket.create_connection((place.hostname, place.port), timeout=30) as one:
                one.sendall(first)
                one.shutdown(socket.SHUT_WR)
                while one.recv(4_096):
                    pass
        assert httpx.get(f"{service.url}/api/v1/health", timeout=30).status_code == 200
    finally:
        stack.registry.stop(service.record)
    assert (STATE / "logs" / "service-cutoff.log").read_text() == ""


async def _hold_imports(url: str, number: int, megabytes: int) -> tuple[int, int]:
    """Bodies of imports that go out but for their last byte, and how many were taken in when another's was answered."""
    place = urlsplit(url)
    body = b" " * (megabytes * 2**20)
    head = b"POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n"
    taken = asyncio.Semaphore(0)
    done = 0

    async def send() -> None:
        nonlocal done
        _, writer = await asyncio.open_connection(place.hostname, place.port, local_addr=("127.0.0.2", 0))
        writer.transport.set_write_buffer_limits(high=0)
        try:
            writer.write(head % (len(body) + 1) + body)
            await writer.drain()  # all of it is out of this process: the service has all but what the sockets hold
            done += 1
            taken.release()
            await asyncio.Event().wait()
        finally:
            writer.transport.abort()

    sending = [asyncio.create_task(send()) for _ in range(number)]
    try:
        for _ in range(OF_ONE):
            await asyncio.wait_for(taken.acquire(), 60)
        async with httpx.AsyncClient(base_url=url, timeout=60) as other:
            for count in range(3):
                rows = f"name,type\nheld {megabytes} {count},Risk\n".encode()
                answer = await other.post("/api/v1/import", content=rows, headers={"Content-Type": "text/csv"})
                assert answer.status_code == 201
        return done, number
    finally:
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


def test_bodies_of_imports_are_taken_in_few_at_a_time_and_anothers_is_answered(stack: Stack, database_url: str) -> None:
    service = start_service(stack, Serving("imports", database_url, cached=False))
    process = psutil.Process(service.record.pid)
    try:
        before = process.memory_info().rss
        done, number = asyncio.run(_hold_imports(service.url, 12, 40))
        assert done == OF_ONE < number
        assert process.memory_info().rss - before < 12 * 40 * 2**20 / 2
    finally:
        stack.registry.stop(service.record)
