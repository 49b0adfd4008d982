"""A Cluster of three shards and two processes with a cache on it, all of a test's own: what the epochs promise.

Masters are lost with what their followers had not heard, stand beside who took over, are away or restarted empty, or
are out of one process's reach; a write's commit, its telling and its acknowledgement lie apart, a load and its filling
too. Everything but the servers is the cache's own code.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.keys import Keyspace, Kind
from archzero_lab.systems.arczero.cache.members import Members
from archzero_lab.systems.arczero.cache.script_calls import new_generation
from archzero_lab.systems.arczero.cache.shards import Address
from tests.unit.model_servers import Client, Clock, Node

SETTINGS = CacheSettings(licence_s=0.5)
KEYS = Keyspace("model", clustered=True)
GENERATIONS = KEYS.generations(Kind.CARD)
SHARDS, TAGS = 3, len(KEYS.tags)
HOT = (0, 7, 15)
"""Tags that are written and read: one a shard."""


class Script:
    """One that nobody calls here by its text."""

    sha = script = "of no matter"


class Scripts:
    """What Members asks of the scripts."""

    bump = remove = Script()

    def choose(self, servers: Iterable[dict[str, Any]]) -> None:
        """All know all."""

    async def begin_tag(self, keys: Sequence[str], args: Sequence[Any], client: Process) -> int:
        node = client.reach(KEYS.epochs.index(keys[0]))
        if client.world.rng.random() < client.world.dying:
            raise RedisConnectionError("whoever begins an epoch dies before this tag")
        if (node.get(keys[0]) or b"") != args[0]:
            return 0
        for name, generation in zip(keys[1:], args[3:], strict=True):
            node.set(name, generation, px=args[2])
        node.set(keys[0], args[1])
        return 1


class World:
    """The servers, the database, and what was acknowledged."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self.clock, self.rng = clock, rng
        self.masters = [Node(clock, shard, {}) for shard in range(SHARDS)]
        self.heard: list[dict[str, tuple[Any, float]] | None] = [None] * SHARDS
        """What the follower of each has, where it hears nothing any more."""
        self.before: Node | None = None
        """A master beside whom another has taken over."""
        self.database, self.acknowledged = [0] * TAGS, [0] * TAGS
        self.outbox: set[tuple[int, int]] = set()
        self.stale: list[tuple[int, int, int]] = []
        self.reads = self.hits = self.told = 0
        self.works = False
        self.dying = 0.0
        """How often whoever begins an epoch gets no further than to a tag."""

    def hurt(self, processes: Sequence[Process]) -> None:
        """One thing goes wrong, or right again."""
        shard, rng = self.rng.randrange(SHARDS), self.rng
        what = rng.choice([*"deaf promote dies down up up reach reached reached sleep".split(), *["map"] * 5])
        if what == "deaf":
            self.heard[shard] = dict(self.masters[shard].data)
        elif what == "promote" and self.masters[shard].is_up and self.before is None:
            self.before = self.masters[shard]
            heard = self.heard[shard]
            self.masters[shard] = Node(self.clock, shard, self.before.data if heard is None else heard)
            self.heard[shard] = None
        elif what == "dies" and self.before is not None:
            self.before.is_up, self.before = False, None
        elif what == "down":
            self.masters[shard].is_up = False
        elif what == "up" and not self.masters[shard].is_up:
            kept = self.masters[shard].data if rng.random() < 0.5 else {}
            self.masters[shard] = Node(self.clock, shard, kept)
        elif what == "reach":
            rng.choice(processes).out_of_reach = {shard}
        elif what == "reached":
            rng.choice(processes).out_of_reach = set()
        elif what == "sleep":
            rng.choice(processes).asleep_until = self.clock.now + rng.uniform(0.5, 3.0)
        elif what == "map":
            rng.choice(processes).see()

    def heal(self, processes: Sequence[Process]) -> None:
        """All is there and known to everyone."""
        for shard, node in enumerate(self.masters):
            if not node.is_up:
                self.masters[shard] = Node(self.clock, shard, {})
        for process in processes:
            process.out_of_reach, process.asleep_until = set(), 0.0
            process.see()


class Process:
    """One with a cache: its map of the Cluster, its licence, what it has under way. It is its own Shards."""

    def __init__(self, world: World, members: type[Members]) -> None:
        self.world, self.members = world, members(KEYS, Scripts(), SETTINGS)  # type: ignore[arg-type]
        self.slots = self
        self.map = list(world.masters)
        self.out_of_reach: set[int] = set()
        self.asleep_until = 0.0
        self.licensed_until, self.identity = 0.0, ""
        self.known: set[str] = set()
        self.loads: list[tuple[int, str, int]] = []
        self.writes: list[tuple[int, int]] = []

    # -- what Members asks of Shards -----------------------------------------------------------------------

    async def initialize(self) -> None:
        """It knows."""

    def ask_soon(self) -> None:
        """It sees when the world says."""

    def by_owner(self, names: Iterable[str]) -> dict[Address, list[str]]:
        owned: dict[Address, list[str]] = {}
        for name in names:
            owned.setdefault(("shard", KEYS.tag_of(name) * SHARDS // TAGS), []).append(name)
        return owned

    def node(self, address: Address) -> Client:
        node = self.map[address[1]]
        return Client(node, node.is_up and node.shard not in self.out_of_reach)

    def reach(self, tag: int) -> Node:
        """Who has a tag, as far as it knows. Raises RedisConnectionError."""
        node = self.map[tag * SHARDS // TAGS]
        if not node.is_up or node.shard in self.out_of_reach:
            raise RedisConnectionError("away")
        return node

    # -- what the cache does -------------------------------------------------------------------------------

    def see(self) -> None:
        """Its map is of now; what it believed is believed no longer."""
        if self.map != self.world.masters:
            self.map, self.identity, self.licensed_until = list(self.world.masters), "", 0.0

    async def beat(self) -> None:
        sent = self.world.clock.now
        if sent < self.asleep_until:
            return
        if sent >= self.licensed_until:
            self.identity = ""
        try:
            identity = await self.members.beat(self)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            if not self.identity or identity != self.identity:
                self.identity, self.licensed_until = "", 0.0
                nonce, _ = await self.members.agree(self, "")  # type: ignore[arg-type]
                if nonce is None or not all([await self.tell(tag, version) for tag, version in set(self.world.outbox)]):
                    return
                self.identity, self.known = nonce, {node.run_id for node in self.map}
        except RedisConnectionError:
            return
        self.licensed_until = sent + SETTINGS.licence_s

    def read(self, tag: int) -> None:
        """A hit is held against what was acknowledged; a miss begins a load."""
        world = self.world
        world.reads += 1
        node = self._believed(tag)
        if node is None:
            return
        generation, value = node.get(GENERATIONS[tag]), node.get(f"value {tag}")
        if generation is not None and value is not None and value[0] == generation:
            world.hits += 1
            if value[1] < world.acknowledged[tag]:
                world.stale.append((tag, value[1], world.acknowledged[tag]))
            return
        if generation is None:
            node.set(GENERATIONS[tag], generation := new_generation())
        if not generation.startswith("F"):
            self.loads.append((tag, generation, world.database[tag]))

    def fill(self) -> None:
        """The end of a load."""
        tag, generation, version = self.loads.pop(self.world.rng.randrange(len(self.loads)))
        node = self._believed(tag)
        if node is not None and node.get(GENERATIONS[tag]) == generation:
            node.set(f"value {tag}", (generation, version))

    def commit(self, tag: int) -> None:
        world = self.world
        world.database[tag] += 1
        world.outbox.add((tag, world.database[tag]))
        self.writes.append((tag, world.database[tag]))

    async def tell_one(self) -> None:
        """One write is told, and acknowledged where that counts; else its row waits."""
        await self.tell(*self.writes.pop(self.world.rng.randrange(len(self.writes))))

    async def tell(self, tag: int, version: int) -> bool:
        world, epoch = self.world, self.members.counting
        if epoch is None:
            return False
        try:
            if self.members.has(KEYS.heartbeats[tag], epoch):
                self.reach(tag).set(GENERATIONS[tag], new_generation())
            if not await self.members.stands(epoch, self):  # type: ignore[arg-type]
                return False
        except RedisConnectionError:
            return False
        world.told += 1
        world.acknowledged[tag] = max(world.acknowledged[tag], version)
        world.outbox.discard((tag, version))
        return True

    def _believed(self, tag: int) -> Node | None:
        """Who may be read from: known since the licence was given."""
        if self.world.clock.now >= self.licensed_until or not self.members.has(KEYS.heartbeats[tag]):
            return None
        try:
            node = self.reach(tag)
        except RedisConnectionError:
            return None
        if node.run_id in self.known:
            return node
        self.identity, self.licensed_until = "", 0.0
        return None


async def live(clock: Clock, seed: int, steps: int, members: type[Members] = Members) -> World:
    """A history at random; what was read and acknowledged in it, and whether all works in the end."""
    rng = random.Random(seed)
    world = World(clock, rng)
    processes = [Process(world, members) for _ in range(2)]
    trouble, world.dying = rng.choice([0.01, 0.02, 0.04]), 0.01
    for _ in range(steps):
        process, tag = rng.choice(processes), rng.choice(HOT)
        what = rng.random()
        if what < trouble:
            world.hurt(processes)
        elif what < 0.34:
            clock.now += rng.choice([0.02, 0.05, 0.1])
            for one in rng.sample(processes, len(processes)):
                await one.beat()
        elif clock.now < process.asleep_until:
            continue
        elif what < 0.40:
            await process.beat()
        elif what < 0.70:
            process.read(tag)
        elif what < 0.85 and process.loads:
            process.fill()
        elif what < 0.90:
            process.commit(tag)
        elif process.writes:
            await process.tell_one()
    world.heal(processes)
    world.works = await _all_work(world, processes)
    world.masters[rng.randrange(SHARDS)].is_up = False
    world.works = await _all_work(world, processes) and world.works
    for one in processes:
        await one.members.close()
    return world


async def _all_work(world: World, processes: Sequence[Process]) -> bool:
    """Whether in ten seconds everyone has a licence, and what is told counts."""
    for _ in range(100):
        world.clock.now += 0.1
        for one in processes:
            await one.beat()
    return all(world.clock.now < one.licensed_until and one.members.counting for one in processes)
