"""Turns are given in rotation, to one client no more than its share, and none is lost or made."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.postgres.fair_turns import FairTurns

STEPS = st.lists(st.tuples(st.sampled_from(["take", "give", "cancel"]), st.sampled_from("abc")), max_size=60)


async def turned() -> None:
    """Let what is ready run."""
    for _ in range(4):
        await asyncio.sleep(0)


def test_what_one_client_may_not_have_is_there_for_another() -> None:
    async def run() -> None:
        turns = FairTurns(4, 3)
        for _ in range(3):
            await turns.take("greedy")
        more = asyncio.create_task(turns.take("greedy"))
        await turned()
        assert not more.done()
        await asyncio.wait_for(turns.take("other"), 1)
        turns.give("other")
        await turned()
        assert not more.done()
        turns.give("greedy")
        await asyncio.wait_for(more, 1)

    asyncio.run(run())


def test_clients_that_wait_are_served_in_rotation_however_many_turns_each_wants() -> None:
    async def run() -> None:
        turns, served = FairTurns(1, 1), []

        async def want(client: str) -> None:
            await turns.take(client)
            served.append(client)
            turns.give(client)

        await turns.take("first")
        waiting = [asyncio.create_task(want(client)) for client in "aaaabbc"]
        await turned()
        turns.give("first")
        await asyncio.gather(*waiting)
        assert "".join(served) == "abcabaa"

    asyncio.run(run())


@given(STEPS)
def test_no_turn_is_lost_or_made_and_nobody_waits_for_one_that_it_may_have(steps: list[tuple[str, str]]) -> None:
    async def run() -> None:
        number, most = 3, 2
        turns = FairTurns(number, most)
        tasks: dict[str, list[asyncio.Task[None]]] = {client: [] for client in "abc"}
        holding = dict.fromkeys("abc", 0)
        for what, client in steps:
            if what == "take":
                tasks[client].append(asyncio.create_task(turns.take(client)))
            elif what == "give" and holding[client]:
                turns.give(client)
                holding[client] -= 1
            elif what == "cancel" and tasks[client]:
                tasks[client].pop().cancel()
            await turned()
            for one in "abc":
                got = [task for task in tasks[one] if task.done() and not task.cancelled()]
                holding[one] += len(got)
                tasks[one] = [task for task in tasks[one] if not task.done()]
                assert holding[one] <= most
            assert sum(holding.values()) <= number
            for one in "abc":
                assert not tasks[one] or holding[one] == most or sum(holding.values()) == number
        for one in "abc":
            for task in tasks[one]:
                task.cancel()

    asyncio.run(run())
