"""Places in a cluster's history: their order, their text, what covers what; what a process knows of its servers."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.postgres.cluster_nodes import Node, Seen, nodes_of
from archzero_lab.postgres.cluster_watch import ClusterWatch
from archzero_lab.postgres.positions import Position, Session, later
from archzero_lab.settings import ReplicaSettings

POSITIONS = st.builds(Position, st.just(7), st.integers(1, 2**31), st.integers(0, 2**63))


@given(POSITIONS, POSITIONS)
def test_the_order_of_texts_is_that_of_the_history(one: Position, other: Position) -> None:
    assert Position.parse(str(one)) == one
    assert (str(one) < str(other)) == ((one.timeline, one.lsn) < (other.timeline, other.lsn))
    assert later(one, other) == max(one, other, key=str)


@pytest.mark.parametrize("text", ["", "0", "g" * 40, "0" * 39, "0" * 41, "0" * 40 + "\n", "A" * 40])
def test_other_texts_are_no_positions(text: str) -> None:
    with pytest.raises(ValueError, match="40 hexadecimal digits"):
        Position.parse(text)


def test_what_lies_on_another_timeline_or_in_another_cluster_is_not_covered() -> None:
    here = Position(7, 2, 100)
    assert here.covers(Position(7, 2, 100))
    assert not here.covers(Position(7, 2, 101))
    assert not here.covers(Position(7, 1, 1))
    assert not here.covers(Position(8, 2, 1))


def test_a_session_keeps_the_latest_that_it_saw() -> None:
    session = Session()
    for position in (Position(7, 1, 5), Position(7, 2, 1), Position(7, 1, 9), None):
        session.saw(position)
    assert session.seen == Position(7, 2, 1)


def test_servers_are_those_of_both_urls_each_once() -> None:
    nodes = nodes_of(
        "postgresql://me:pw@one:1,two:2/cards?target_session_attrs=read-write", ["postgresql://me@two:2/cards"]
    )
    assert [(node.name, node.leads) for node in nodes] == [("one:1", True), ("two:2", True)]
    assert "target_session_attrs" not in nodes[0].url
    assert "host=one" in nodes[0].url


class Watched:
    """A watch over three servers, which say what a test lets them say."""

    def __init__(self) -> None:
        self.nodes = [Node(name, name, leads=name == "a") for name in "abc"]
        self.watch = ClusterWatch(self.nodes, ReplicaSettings(most_lag_s=10.0))
        self.heard = 0
        self.watch.on_primary = lambda: setattr(self, "heard", self.heard + 1)

    def says(self, name: str, *, writable: bool, timeline: int | None, lsn: int = 100, system: int = 7) -> None:
        node = self.nodes["abc".index(name)]
        seen = Seen(time.monotonic(), writable, system, timeline, lsn, f"since {name}")
        self.watch._note(node, seen, may_see=True)
        self.watch._judge()

    def usable(self, needed: Position | None = None) -> str:
        return "".join(node.name for node in self.watch.usable(needed))


def test_a_replica_serves_what_it_has_replayed() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=1)
    watched.says("b", writable=False, timeline=1, lsn=90)
    watched.says("c", writable=False, timeline=1, lsn=100)
    assert watched.usable(Position(7, 1, 95)) == "c"
    assert watched.usable(Position(7, 1, 90)) == "bc"
    assert watched.usable(Position(7, 2, 1)) == ""
    assert watched.usable(None) == "", "nobody knows how far behind they are before the primary was asked twice"
    watched.says("a", writable=True, timeline=1, lsn=95)
    assert watched.usable(None) == "c"
    assert math.isinf(watched.watch.lag_s(watched.nodes[1]))


def test_the_server_of_the_highest_timeline_that_takes_writes_is_the_primary() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=1)
    watched.says("b", writable=False, timeline=1)
    watched.says("b", writable=True, timeline=2)
    assert (watched.watch.primary, watched.watch.timeline) == (watched.nodes[1], 2)
    assert watched.heard == 2
    assert "takes writes on timeline 1, b on 2" in watched.nodes[0].trouble
    watched.says("a", writable=True, timeline=1, lsn=10_000)
    assert watched.watch.primary is watched.nodes[1], "what it takes now is lost"
    assert watched.watch.split == ""


def test_two_servers_that_take_writes_on_one_timeline_are_refused_by_name() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=2)
    watched.says("b", writable=True, timeline=2)
    watched.says("c", writable=False, timeline=2)
    assert watched.watch.split == "a and b take writes on timeline 2; stop all but one"
    assert watched.usable(Position(7, 2, 1)) == ""


def test_a_server_of_another_cluster_is_never_the_primary_nor_read_from() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=1)
    watched.says("b", writable=True, timeline=9, system=8)
    watched.says("c", writable=False, timeline=1, system=8)
    assert watched.watch.primary is watched.nodes[0]
    assert [node.trouble for node in watched.nodes] == ["", "is of another cluster", "is of another cluster"]
    assert watched.usable(Position(7, 1, 1)) == ""


def test_a_replica_that_streams_nothing_is_where_it_was_and_not_newer() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=1)
    watched.says("b", writable=False, timeline=None)
    assert watched.usable(Position(7, 1, 1)) == "", "on which timeline it stands nobody has heard"
    watched.says("b", writable=False, timeline=1)
    watched.says("b", writable=False, timeline=None)
    assert watched.usable(Position(7, 1, 100)) == "b"
    assert watched.usable(Position(7, 1, 101)) == ""


def test_a_replica_of_the_timeline_before_serves_nobody() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=1)
    watched.says("c", writable=False, timeline=1)
    watched.says("b", writable=True, timeline=2)
    assert watched.usable(Position(7, 1, 1)) == "", "it may have what is in no history any more"


def test_a_process_that_starts_when_another_leads_than_its_url_names_knows_the_cluster_all_the_same() -> None:
    watched = Watched()
    watched.says("b", writable=True, timeline=2)
    assert watched.watch.system is None, "whom the URL names was not asked yet"
    watched.nodes[0].trouble = "cannot be asked"
    watched.says("b", writable=True, timeline=2)
    assert (watched.watch.primary, watched.watch.system) == (watched.nodes[1], 7)


def test_urls_without_a_host_and_with_addresses() -> None:
    (local,) = nodes_of("postgresql:///cards", [])
    assert local.url == "postgresql:///cards"
    one, two = nodes_of("host=one,two hostaddr=127.0.0.1,127.0.0.2 port=5 dbname=cards", [])
    assert "hostaddr=127.0.0.1" in one.url
    assert "hostaddr=127.0.0.2" in two.url


async def test_a_process_that_slept_asks_every_server_before_it_trusts_what_it_knew() -> None:
    watched = Watched()
    watched.says("a", writable=True, timeline=1)
    await asyncio.wait_for(watched.watch.hear(), 5)  # awake: at once, whoever answers or not
    watched.watch._ticked_at -= 60
    hearing = asyncio.ensure_future(watched.watch.hear())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all(node.wake.is_set() for node in watched.nodes)
    for name, node in zip("abc", watched.nodes, strict=True):
        assert not hearing.done()
        node.tried_at = time.monotonic()
        watched.says(name, writable=name == "b", timeline=2 if name == "b" else 1)
        node.answered.set()
        await asyncio.sleep(0.01)
    await asyncio.wait_for(hearing, 5)
    assert watched.watch.primary is watched.nodes[1]


def test_another_cluster_among_the_replicas_is_taken_for_none_while_nobody_of_the_url_answers() -> None:
    watched = Watched()
    watched.nodes[0].trouble = "cannot be asked"
    watched.says("b", writable=True, timeline=9, system=8)
    assert watched.watch.system == 8, "so far all who answer agree"
    watched.says("a", writable=True, timeline=1)
    assert (watched.watch.system, watched.watch.primary, watched.watch.timeline) == (7, watched.nodes[0], 1)
    assert watched.nodes[1].trouble == "is of another cluster"
