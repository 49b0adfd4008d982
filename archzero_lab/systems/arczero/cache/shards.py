"""A Cluster's client: a command goes to who has its slot, by the map that most nodes tell, and is not asked again.

redis-py's follows every redirection and asks again whoever comes next, where this cache must know who has answered; and
it does not start while the first slot's master is away.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis._parsers import Encoder
from redis.commands.core import AsyncCoreCommands
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, NoScriptError, SlotNotCoveredError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.utils import str_if_bytes

Address = tuple[str, int]
_ASK_ANEW = (MovedError, AskError, ClusterDownError, SlotNotCoveredError)
Ranges = tuple[tuple[int, int, Address], ...]
"""Of slots, from and to, each with its master."""


class SlotMap:
    """Whose each slot is, as far as one process knows. `on_change` hears of another map than the one before."""

    def __init__(
        self, places: Sequence[Address], open_node: Callable[[Address], Any], timeout_s: float,
        on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        """`places` are nodes that may be asked at first."""
        self._first, self._open_node, self._timeout_s, self._on_change = list(places), open_node, timeout_s, on_change
        self._places = self._first
        self._nodes: dict[Address, Any] = {}
        self._asking: asyncio.Task[None] | None = None
        self.ranges: Ranges = ()

    def owner(self, name: str | bytes) -> Address:
        """Who has a key. Raises SlotNotCoveredError where nobody is known to."""
        slot = key_slot(name.encode() if isinstance(name, str) else name)
        at = bisect_right(self.ranges, slot, key=lambda known: known[0]) - 1
        if at < 0 or slot > self.ranges[at][1]:
            raise SlotNotCoveredError(f"slot {slot} is nobody's")
        return self.ranges[at][2]

    async def ask(self) -> None:
        """Ask all nodes, and believe what most of those who answer say. Whoever asks beside another waits with him.

        Raises RedisConnectionError where nobody answers.
        """
        self.ask_soon()
        assert self._asking is not None
        await asyncio.shield(self._asking)

    def ask_soon(self) -> None:
        """As ask(), beside what goes on."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def close(self) -> None:
        """Close what leads to the nodes."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await close_nodes(self._nodes.values())

    async def _ask(self) -> None:
        told = await asyncio.gather(*map(self._ask_one, self._places), return_exceptions=True)
        answers = [answer for answer in told if not isinstance(answer, BaseException)]
        if not answers:
            raise RedisConnectionError("no node of the Cluster says whose the slots are")
        named = Counter(ranges for ranges, _ in answers)
        ranges = max(named, key=lambda each: (named[each], each == self.ranges))
        self._places = list(dict.fromkeys([*self._first, *(p for each, of in answers if each == ranges for p in of)]))
        if ranges != self.ranges:
            before, self.ranges = self.ranges, ranges
            if before:
                self._on_change()

    async def _ask_one(self, place: Address) -> tuple[Ranges, list[Address]]:
        if place not in self._nodes:
            self._nodes[place] = self._open_node(place)
        async with asyncio.timeout(self._timeout_s):
            rows = await self._nodes[place].execute_command("CLUSTER", "SLOTS")
        # a node that was given no address of its own leaves it out
        named = [
            (int(row[0]), int(row[1]), [(str_if_bytes(node[0]) or place[0], int(node[1])) for node in row[2:]])
            for row in rows
        ]
        ranges = tuple(sorted((low, high, nodes[0]) for low, high, nodes in named if nodes))
        return ranges, [node for *_, nodes in named for node in nodes]


class Shards(AsyncCoreCommands):
    """Commands of one key, by the slot map. Raises what redis-py raises; MovedError where the map is old. The text of a
    script goes to who lacked it."""

    _event_dispatcher: Any = None
    """redis-py's protocol of a client asks for one; only what this does not have uses it."""

    def __init__(self, slots: SlotMap, open_node: Callable[[Address], Any]) -> None:
        self.slots = slots
        self._open_node = open_node
        self._nodes: dict[Address, Any] = {}
        self._lacking: set[Address] = set()
        """Who did not know a script."""

    async def initialize(self) -> None:
        """Ask whose the slots are where nothing is known of it."""
        if not self.slots.ranges:
            await self.slots.ask()

    def node(self, address: Address) -> Any:
        """The client of one node."""
        if address not in self._nodes:
            self._nodes[address] = self._open_node(address)
        return self._nodes[address]

    def by_owner(self, names: Iterable[str]) -> dict[Address, list[str]]:
        """Keys by who has them, those of nobody left out."""
        owned: dict[Address, list[str]] = {}
        for name in names:
            try:
                owned.setdefault(self.slots.owner(name), []).append(name)
            except SlotNotCoveredError:
                self.slots.ask_soon()
        return owned

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command to who has its key."""
        await self.initialize()
        if args[0] == "SCRIPT LOAD":
            lacking, self._lacking = self._lacking or {owner for *_, owner in self.slots.ranges}, set()
            asked = (self.node(address).execute_command(*args, **options) for address in lacking)
            loaded = await asyncio.gather(*asked, return_exceptions=True)
            for answer in loaded:
                if not isinstance(answer, BaseException):
                    return answer  # of one that did not take it, the script's next call tells
            raise loaded[0]  # no answer would be taken for the script's name
        owner = self._owner(args)
        try:
            return await self.node(owner).execute_command(*args, **options)
        except NoScriptError:
            self._lacking.add(owner)
            raise
        except _ASK_ANEW:
            self.slots.ask_soon()
            raise

    def _owner(self, args: Sequence[Any]) -> Address:
        try:
            return self.slots.owner(_key_of(args))
        except SlotNotCoveredError:
            self.slots.ask_soon()
            raise

    async def send(self, calls: Sequence[Callable[[Any], Awaitable[Any]]]) -> list[Any]:
        """Calls of one command each, all that are one server's in one round trip; their answers.

        A script that a server does not know is sent again with its text. Raises the first error, with none under way.
        """
        await self.initialize()
        queue = _Queue()
        for call in calls:
            await call(queue)
        by_owner: dict[Address, list[int]] = {}
        for number, (args, _) in enumerate(queue.commands):
            by_owner.setdefault(self._owner(args), []).append(number)
        answers: list[Any] = [None] * len(calls)

        async def send_to(address: Address, numbers: list[int]) -> None:
            async with self.node(address).pipeline(transaction=False) as pipe:
                for number in numbers:
                    args, options = queue.commands[number]
                    pipe.execute_command(*args, **options)
                for number, answer in zip(numbers, await pipe.execute(raise_on_error=False), strict=True):
                    answers[number] = answer

        sent = (send_to(address, numbers) for address, numbers in by_owner.items())
        # none is left under way: what a caller does next must come after it
        for done in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(done, BaseException):
                raise done
        loaded: set[tuple[Any, Address]] = set()
        again: list[int] = []
        for number, answer in enumerate(answers):
            args, _ = queue.commands[number]
            if not isinstance(answer, NoScriptError):
                continue
            if (script := (args[1], self._owner(args))) in loaded:
                again.append(number)
            else:
                answers[number] = await calls[number](self)
                loaded.add(script)
        if again:
            for number, answer in zip(again, await self.send([calls[number] for number in again]), strict=True):
                answers[number] = answer
        for answer in answers:
            if isinstance(answer, _ASK_ANEW):
                self.slots.ask_soon()
            if isinstance(answer, Exception):
                raise answer
        return answers

    def get_encoder(self) -> Encoder:
        """How a script's text is encoded."""
        return Encoder("utf-8", "strict", decode_responses=False)

    async def aclose(self) -> None:
        """Close what leads to the nodes."""
        await close_nodes(self._nodes.values())


class _Queue(AsyncCoreCommands):
    """Stands where a pipeline would, and keeps the commands."""

    _event_dispatcher: Any = None

    def __init__(self) -> None:
        self.commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    async def execute_command(self, *args: Any, **options: Any) -> None:
        """Keep it."""
        self.commands.append((args, options))


def _key_of(args: Sequence[Any]) -> Any:
    """The first key of a command, of those that this cache sends."""
    return args[3] if args[0] in ("EVALSHA", "EVAL") else args[1]


async def close_nodes(nodes: Iterable[Any]) -> None:
    """Close clients of nodes, with their pools."""
    for node in list(nodes):
        with suppress(Exception):  # the others are to be closed as well
            await node.aclose()
            await node.connection_pool.aclose()
