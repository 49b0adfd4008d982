"""A Redis that answers reads and takes no writes: not believed by anybody, named by health, believed again after it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch, CardType
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
            assert not await service.store.written(key, "", None, [])
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
