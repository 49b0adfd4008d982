"""What is in Redis now, of one service: keys, memory and time to live by kind, and what is asked for most."""

from __future__ import annotations

import statistics
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import cast

import redis

from archzero_lab.errors import ServerError, mask_secrets
from archzero_lab.systems.arczero.cache.keys import Keyspace, Kind
from archzero_lab.systems.arczero.cache.usage import parse_member
from archzero_lab.systems.arczero.cards.model import CardFilter

MOST_KEYS = 200_000
"""A scan ends after so many keys: it is a look, not a load."""
_MEASURED = 1_000
_PIPELINED = 500


@dataclass(frozen=True)
class KindContents:
    """The entries of a kind. `bytes` is what they take in Redis, from up to 1,000 of them; `ttl_s` the median left."""

    keys: int
    bytes: int
    ttl_s: float | None


@dataclass(frozen=True)
class Contents:
    """What a scan found. `hottest` are questions and how often they were asked, the commonest first."""

    kinds: dict[str, KindContents]
    hottest: list[tuple[uuid.UUID | CardFilter, int]]
    used_memory: int
    maxmemory: int
    whole: bool


def read_contents(url: str, namespace: str, hottest: int = 10) -> Contents:
    """Scan the keys of a service's namespace. Raises ServerError where Redis does not answer."""
    keys = Keyspace(namespace)
    client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=30)
    try:
        slots, whole = _scan(client, keys)
        kinds = {kind: _of_kind(client, names) for kind, names in slots.items()}
        usage = cast("list[tuple[bytes, float]]", client.zrevrange(keys.usage, 0, hottest - 1, withscores=True))
        memory = client.info("memory")
    except (redis.RedisError, OSError) as error:
        raise ServerError(f"Redis at {mask_secrets(url)} does not answer: {error}; see ./lab status") from None
    finally:
        client.close()
    questions = [(parse_member(member.decode()), int(count)) for member, count in usage]
    return Contents(
        kinds,
        [(what, count) for what, count in questions if what is not None],
        int(memory["used_memory"]),
        int(memory.get("maxmemory", 0)),
        whole,
    )


def _scan(client: redis.Redis, keys: Keyspace) -> tuple[dict[str, list[bytes]], bool]:
    prefixes = {kind.value: keys.prefix(kind).encode() for kind in Kind}
    generations = {name.encode() for kind in Kind for name in keys.generations(kind)}
    slots: dict[str, list[bytes]] = defaultdict(list)
    for number, name in enumerate(client.scan_iter(f"{keys.namespace}:*", count=1_000)):
        if number >= MOST_KEYS:
            return dict(slots), False
        kind = next((kind for kind, prefix in prefixes.items() if name.startswith(prefix)), None)
        if kind is not None and name not in generations:
            slots[kind].append(name)
    return dict(slots), True


def _of_kind(client: redis.Redis, names: list[bytes]) -> KindContents:
    sizes: list[int] = []
    left: list[int] = []
    for at in range(0, min(len(names), _MEASURED), _PIPELINED):
        some = names[at : min(at + _PIPELINED, _MEASURED)]
        pipe = client.pipeline(transaction=False)
        for name in some:
            pipe.memory_usage(name, samples=0)
            pipe.pttl(name)
        answers = pipe.execute()
        sizes += [size for size in answers[::2] if size is not None]
        left += [ms for ms in answers[1::2] if ms > 0]
    size = round(statistics.fmean(sizes) * len(names)) if sizes else 0
    return KindContents(len(names), size, statistics.median(left) / 1000 if left else None)
