"""A Redis that answers reads and takes no writes: not believed by anybody, named by health, believed again after it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.process import start_ticks
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.announcements import Change
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch, CardType
from archzero_lab.systems.arczero.services import Serving, start_service
from tests.integration.conftest import PATIENT, Cached, open_cached

Act = Callable[[Any], Any]
WRITING = ("set", "del", "evalsha", "eval", "script")


def _acl(*rules: str) -> Act:
    return lambda client: client.execute_command("ACL", "SETUSER", "default", *rules)


REFUSALS: dict[str, tuple[Act, Act, str]] = {
    "READONLY": (lambda client: client.slaveof("127.0.0.1", 1), lambda client: client.slaveof(), "read only replica"),
    "NOREPLICAS": (
        lambda client: client.config_set("min-replicas-to-write", 3),
        lambda client: client.config_set("min-replicas-to-write", 0),
        "NOREPLICAS",
    ),
    "NOPERM": (_acl(*(f"-{name}" for name in WRITING)), _acl(*(f"+{name}" for name in WRITING)), "NoPermission"),
    "NOPERM of keys": (_acl("resetkeys", "%R~*"), _acl("allkeys"), "NoPermission"),
    "a replica that takes writes": (
        lambda client: (client.config_set("replica-read-only", "no"), client.slaveof("127.0.0.1", 1)),
        lambda client: (client.config_set("replica-read-only", "yes"), client.slaveof()),
        "is a replica",
    ),
}


@pytest.fixture(scope="module")
def hurt(stack: Stack) -> Iterator[HurtRedis]:
    """A Redis that a test may hurt."""
    made = HurtRedis(stack)
    yield made
    made.close()


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_who_reads_sees_what_was_acknowledged_while_redis_refuses_it(
    database_url: str, hurt: HurtRedis, refusal: str
) -> None:
    begin, end, told = REFUSALS[refusal]
    operator = redis.Redis.from_url(hurt.server.url)
    namespace = f"test:{uuid.uuid4().hex}"
    async with (
        open_cached(database_url, hurt.server.url, PATIENT, namespace) as writer,
        open_cached(database_url, hurt.server.url, PATIENT, namespace) as reader,
    ):
        card_id, _ = await writer.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk, quality_score=1))

        async def read() -> int:
            score: int = json.loads((await reader.cards.card(card_id)).body)["qualityScore"]
            return score

        assert await _until_licensed(reader)
        assert await read() == 1
        assert await reader.store.link.obeys()
        begin(operator)
        try:
            for score in range(10, 13):
                await writer.cards.update_card(card_id, CardPatch(quality_score=score))
                assert await read() == score
            assert await _until(lambda: not reader.store.link.licensed)
            health = await reader.store.health()
            assert (health["connected"], health["obeys"]) == (True, False)
            assert told in health["refused"], health
        finally:
            end(operator)
        assert await _until_licensed(writer)
        assert await _until_licensed(reader)
        await writer.cards.update_card(card_id, CardPatch(quality_score=99))
        assert await read() == 99
        assert (await reader.store.health())["refused"] is None
    operator.close()


@pytest.mark.parametrize("command", ["get", "mget", "set", "evalsha", "unlink"])
async def test_health_names_a_right_that_was_taken_whatever_it_is_for(
    database_url: str, hurt: HurtRedis, command: str
) -> None:
    operator = redis.Redis.from_url(hurt.server.url)
    async with open_cached(database_url, hurt.server.url, PATIENT, f"test:{uuid.uuid4().hex}") as cached:
        assert await _until_licensed(cached)
        _acl(f"-{command}")(operator)
        try:
            health = await cached.store.health()
            assert health["connected"]
            assert command in str(health["refused"]).lower(), health
        finally:
            _acl(f"+{command}")(operator)
        assert await _until_licensed(cached)
        assert (await cached.store.health())["refused"] is None
    operator.close()


async def test_an_invalidation_that_is_refused_while_heartbeats_are_not_is_told_and_revokes(
    database_url: str, hurt: HurtRedis
) -> None:
    operator = redis.Redis.from_url(hurt.server.url)
    namespace = f"test:{uuid.uuid4().hex}"
    async with open_cached(database_url, hurt.server.url, PATIENT, namespace) as service:
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk, quality_score=1))
        assert await _until_licensed(service)
        # every key but those of cards
        others = [f"~{namespace}:{kind}:*" for kind in ("list", "search", "graph", "relationships")]
        _acl("resetkeys", "%R~*", *others, f"~{namespace}:card:heartbeat", f"~{namespace}:epoch")(operator)
        try:
            key = service.keys.card(card_id)
            assert await service.store.link.obeys()
            assert not await service.store.written(key, "", None, Change())
            assert not service.store.link.licensed
        finally:
            _acl("allkeys")(operator)
        assert await _until_licensed(service)
    operator.close()


async def _until_licensed(service: Cached) -> bool:
    return await _until(lambda: service.store.link.licensed)


async def _until(holds: Callable[[], bool]) -> bool:
    for _ in range(500):
        if holds():
            return True
        await asyncio.sleep(0.02)
    return False


def test_no_write_that_was_committed_is_a_500_while_redis_has_no_connection_left(
    stack: Stack, database_url: str, hurt: HurtRedis
) -> None:
    """Every connection of the service's killed, again and again, and each that came free taken by somebody else."""
    service = start_service(replace(stack, redis_url=hurt.server.url), Serving("crowded", database_url, cached=True))
    cards = [
        httpx.post(service.url + "/api/v1/cards", json={"name": f"Crowd {uuid.uuid4()}", "type": "Risk"}).json()["id"]
        for _ in range(4)
    ]
    operator = redis.Redis.from_url(hurt.server.url, single_connection_client=True)
    operator.config_set("maxclients", 40)
    me = operator.client_id()
    taken: list[socket.socket] = []
    parts = urlsplit(hurt.server.url)

    def take() -> None:
        while len(taken) < 40:
            one = socket.create_connection((parts.hostname, parts.port), timeout=1)
            one.sendall(f"AUTH {parts.password}\r\n".encode())
            if not one.recv(100).startswith(b"+OK"):
                one.close()
                return
            taken.append(one)

    statuses: Counter[int] = Counter()
    not_written: list[int] = []
    over = threading.Event()

    def write(card: str) -> None:
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
            for score in cycle(range(100)):
                answer = client.put(f"/api/v1/cards/{card}", json={"qualityScore": score})
                statuses[answer.status_code] += 1
                if answer.status_code == 200 and answer.json()["qualityScore"] != score:
                    not_written.append(score)
                if over.is_set():
                    return

    writers = [threading.Thread(target=write, args=(card,)) for card in cards]
    try:
        for writer in writers:
            writer.start()
        for _ in range(6):
            before = statuses.total()
            for client in operator.client_list():
                if int(client["id"]) != me and client.get("lib-name"):
                    operator.client_kill_filter(_id=client["id"])
            take()
            deadline = time.monotonic() + 30
            while statuses.total() < before + 20:
                assert time.monotonic() < deadline, statuses
                time.sleep(0.01)
            for one in taken[::2]:
                one.close()
            del taken[::2]
    finally:
        over.set()
        for writer in writers:
            writer.join()
        for one in taken:
            one.close()
        operator.config_set("maxclients", 10_000)
        operator.close()
        stack.registry.stop(service.record)
    assert set(statuses) <= {200, 503}, statuses
    assert statuses[200] > 0
    assert not_written == []


OWNER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
import redis
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.process import start_ticks
from archzero_lab.servers.process import ProcessRegistry
from archzero_lab.settings import load_settings
made = HurtRedis(SimpleNamespace(settings=load_settings(), registry=ProcessRegistry(Path(sys.argv[1]))))
client = redis.Redis.from_url(made.server.url, socket_timeout=1)
client.config_set("lua-time-limit", 20)
try:
    client.eval("while true do end", 0)
except redis.TimeoutError:
    print(made.server.record.pid, flush=True)
time.sleep(600)
"""


def test_a_redis_kept_busy_by_a_script_ends_with_the_command_that_was_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 60
    while start_ticks(pid):
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.02)
