"""The same cache against a Cluster of three masters, behind Sentinel and over TLS, by URL alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from archzero_lab.errors import SettingsError
from archzero_lab.servers import redis_server
from archzero_lab.servers.process import free_port
from archzero_lab.servers.server_home import server_user
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cards.model import CardDraft, CardFilter, CardPatch, CardType, NotFound
from tests.integration.conftest import PATIENT, Cached, open_cached


def _program(stack: Stack) -> Path:
    system = stack.settings.servers == "system"
    return redis_server.system_program() if system else redis_server.embedded_program()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that the server user can reach."""
    made = Path(f"/tmp/archzero-redis-{uuid.uuid4().hex[:8]}")  # noqa: S108
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def _exercise(service: Cached) -> None:
    """Write and read through the cache: everything seen at once, the second read a hit."""
    word = uuid.uuid4().hex
    card_id, _ = await service.cards.create_card(CardDraft(f"Card {word}", CardType.Risk, quality_score=1))
    for score in range(5):
        await service.cards.update_card(card_id, CardPatch(quality_score=score))
        assert json.loads((await service.cards.card(card_id)).body)["qualityScore"] == score
        page = json.loads((await service.cards.cards(CardFilter(q=word))).body)
        assert [card["qualityScore"] for card in page["data"]] == [score]
    documents = await asyncio.gather(*(service.cards.card(card_id) for _ in range(50)))
    assert len(set(documents)) == 1
    deadline = time.monotonic() + 20
    while not await service.store.flush():  # a connection that was lost just now: the flush is owed, and says so
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await service.cards.delete_card(card_id)
    with pytest.raises(NotFound):
        await service.cards.card(card_id)
    assert (await service.store.health())["connected"] is True


def _slots(url: str) -> int:
    return int(redis.Redis.from_url(url).cluster("INFO")["cluster_slots_ok"])


async def test_a_cluster_of_three_masters(stack: Stack, database_url: str, folder: Path) -> None:
    password = uuid.uuid4().hex
    nodes = []
    for number in range(3):
        home = folder / str(number)
        home.mkdir(mode=0o755)
        nodes.append(
            redis_server.start_redis(
                _program(stack),
                home,
                stack.registry,
                password=password,
                extra_config=("cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {free_port()}"),
            )
        )
    try:
        ports = [int(node.url.rpartition(":")[2].split("/")[0]) for node in nodes]
        bounds = [0, 5461, 10923, 16384]
        for node, low, high in zip(nodes, bounds, bounds[1:], strict=False):
            client = redis.Redis.from_url(node.url)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", low, high - 1)
        first = redis.Redis.from_url(nodes[0].url)
        for node, port in zip(nodes[1:], ports[1:], strict=True):
            bus = int(redis.Redis.from_url(node.url).config_get("cluster-port")["cluster-port"])
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        deadline = time.monotonic() + 20
        while any(_slots(node.url) != 16384 for node in nodes):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        url = f"redis+cluster://:{password}@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
        async with open_cached(database_url, url, PATIENT) as service:
            assert service.store.near is None
            await _exercise(service)
            spread = [redis.Redis.from_url(node.url).dbsize() for node in nodes]
            assert max(spread) < sum(spread), "no master has it all"
    finally:
        for node in nodes:
            stack.registry.stop(node.record)


async def test_behind_sentinel_through_a_failover(stack: Stack, database_url: str, folder: Path) -> None:
    password = uuid.uuid4().hex
    homes = [folder / name for name in ("primary", "replica")]
    for home in homes:
        home.mkdir(mode=0o755)
    program, registry = _program(stack), stack.registry
    auth = f"masterauth {password}"
    primary = redis_server.start_redis(program, homes[0], registry, password=password, extra_config=(auth,))
    port = int(primary.url.rpartition(":")[2].split("/")[0])
    replica = redis_server.start_redis(
        program, homes[1], registry, password=password, extra_config=(auth, f"replicaof 127.0.0.1 {port}")
    )
    sentinels = []
    user = server_user()
    for number in range(2):
        home = folder / f"sentinel-{number}"
        home.mkdir(mode=0o755)
        sentinel_port = free_port()
        config = home / "sentinel.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {sentinel_port}\ndir {home}\nsentinel monitor lab 127.0.0.1 {port} 2\n"
            f"sentinel auth-pass lab {password}\nsentinel down-after-milliseconds lab 500\n"
            "sentinel failover-timeout lab 3000\n"
        )
        if user:
            for path in (home, config):
                os.chown(path, user.pw_uid, user.pw_gid)
        argv = [str(program), str(config), "--sentinel"]
        sentinels.append((registry.spawn(f"sentinel-{number}", argv, log=home / "log", user=user), sentinel_port))
    places = ",".join(f"127.0.0.1:{sentinel_port}" for _, sentinel_port in sentinels)
    try:
        watcher = redis.Redis(port=sentinels[0][1])
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline
            try:
                told = watcher.sentinel_master("lab")
                if told["num-slaves"] == 1 and told["num-other-sentinels"] == 1:
                    break
            except redis.RedisError:
                pass  # it is still starting
            await asyncio.sleep(0.05)
        url = f"redis+sentinel://:{password}@{places}/lab/0"
        async with open_cached(database_url, url, replace(PATIENT, near_bytes=0, timeout_s=0.5)) as service:
            await _exercise(service)
            os.kill(primary.record.pid, signal.SIGKILL)
            card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
            deadline = time.monotonic() + 30
            while not service.store.link.licensed:
                assert time.monotonic() < deadline, "the replica was not taken up"
                assert (await service.cards.card(card_id)).version == 1
                await asyncio.sleep(0.05)
            await _exercise(service)
    finally:
        for record in (*(record for record, _ in sentinels), replica.record, primary.record):
            registry.stop(record)


@pytest.mark.parametrize("url", ["http://h/0", "redis+sentinel2://h/x"])
async def test_a_url_of_no_known_scheme_is_told(database_url: str, url: str) -> None:
    with pytest.raises(SettingsError, match="unknown scheme"):
        async with open_cached(database_url, url, PATIENT):
            pass


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@asynccontextmanager
async def _tls_in_front_of(port: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A port that speaks TLS and passes on to a Redis that does not (the wheel's Valkey is built without), as stunnel
    does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
async def test_over_tls_with_the_server_s_certificate_checked(stack: Stack, database_url: str, folder: Path) -> None:
    password = uuid.uuid4().hex
    server = redis_server.start_redis(_program(stack), folder, stack.registry, password=password)
    try:
        certificate, key = _certificate(folder)
        port = int(server.url.rpartition(":")[2].split("/")[0])
        async with _tls_in_front_of(port, certificate, key) as tls_port:
            url = f"rediss://:{password}@127.0.0.1:{tls_port}/0"
            for near in (0, 1_000_000):
                settings = replace(PATIENT, near_bytes=near)
                async with open_cached(database_url, f"{url}?ssl_ca_certs={certificate}", settings) as service:
                    assert service.store.link.licensed
                    await _exercise(service)
            # an unknown certificate is no Redis of ours: the service goes on without
            async with open_cached(database_url, url, replace(PATIENT, timeout_s=0.5)) as service:
                assert not service.store.link.licensed
                assert (await service.store.health())["connected"] is False
    finally:
        stack.registry.stop(server.record)
