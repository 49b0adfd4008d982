"""Keys, entries, breaker and single_flight, each alone."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.systems.arczero.cache.breaker import CircuitBreaker
from archzero_lab.systems.arczero.cache.counters import hit_rate
from archzero_lab.systems.arczero.cache.entries import Hit, Miss, decode, encode_value
from archzero_lab.systems.arczero.cache.keys import Keyspace, Kind
from archzero_lab.systems.arczero.cache.single_flight import Flight, SingleFlight
from archzero_lab.systems.arczero.cards.model import CardFilter, CardType, Document

text = st.text(max_size=30)
filters = st.builds(
    CardFilter,
    q=st.none() | text,
    type=st.none() | st.sampled_from(CardType),
    owner_id=st.none() | st.uuids(),
    min_quality=st.none() | st.integers(0, 100),
    tags=st.lists(text, max_size=3).map(tuple),
    attributes=st.none() | text,
    page=st.integers(1, 1000),
    page_size=st.integers(1, 100),
)


@given(filters, filters)
def test_two_questions_share_a_key_only_if_they_are_equal(first: CardFilter, second: CardFilter) -> None:
    keys = Keyspace("n")
    assert (keys.cards(first) == keys.cards(second)) == (first == second)


@given(filters)
def test_a_users_text_never_stands_in_a_key(question: CardFilter) -> None:
    slot = Keyspace("n").cards(question).slot
    kind, digest = slot.removeprefix("n:").split(":")
    assert kind in ("list", "search")
    assert len(digest) == 32
    assert set(digest) <= set("0123456789abcdef")


def test_tags_and_attributes_are_part_of_a_list_key() -> None:
    keys = Keyspace("n")
    assert keys.cards(CardFilter(tags=("a",))) != keys.cards(CardFilter(tags=("b",)))
    assert keys.cards(CardFilter(attributes='{"a":1}')) != keys.cards(CardFilter())


def test_text_makes_a_list_a_search() -> None:
    keys = Keyspace("n")
    assert keys.cards(CardFilter()).kind is Kind.LIST
    assert keys.cards(CardFilter(q="x")).kind is Kind.SEARCH


GENERATION = "0123456789abcdef"


@given(
    st.binary(max_size=200) | st.binary(min_size=1, max_size=8).map(lambda part: part * 6_000),
    st.text("0123456789abcdef", min_size=1, max_size=32),
    st.integers(0, 9_999_999_999),
    st.integers(0, 9_999_999_999_999),
)
def test_a_value_comes_back_as_it_was_stored(body: bytes, etag: str, version: int, soft_ms: int) -> None:
    document = Document(body, etag, version)
    found = decode(encode_value(GENERATION, document, soft_ms, 12), GENERATION.encode())
    assert isinstance(found, Hit)
    assert (found.document, found.soft_expiry_ms, found.load_ms) == (document, soft_ms, 12)


@given(st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), max_size=30), st.integers(0, 10**12 - 2))
def test_a_value_holds_while_all_it_depends_on_is_there_of_its_era_and_not_younger(
    names: list[str], number: int
) -> None:
    stored = encode_value(GENERATION, Document(b"{}", "1"), 0, 0, f"0123abcd{number:012d}", names)
    found = decode(stored, GENERATION.encode())
    assert isinstance(found, Hit)
    assert found.names.decode() == "".join(names)
    good = [f"S0123abcd{number:012d}".encode(), b"S0123abcd" + b"0" * 12]
    assert found.holds(good * len(names))
    for bad in (None, f"S0123abcd{number + 1:012d}".encode(), b"Sffffffff" + b"0" * 12, b"P" + b"t" * 16):
        assert not found.holds([*good, bad])


def test_large_documents_are_stored_smaller_and_small_ones_as_they_are() -> None:
    large = Document(b'{"name":"card"}' * 5_000, "1", 1)
    assert len(encode_value(GENERATION, large, 0, 0)) < len(large.body) / 4
    small = Document(b'{"name":"card"}' * 50, "1", 1)
    assert encode_value(GENERATION, small, 0, 0).endswith(small.body)


def test_a_value_of_an_older_generation_or_of_none_or_of_one_being_changed_is_a_miss() -> None:
    stored = encode_value("0" * 16, Document(b"{}", "1", 1), 0, 0)
    assert decode(stored, b"1" * 16) == Miss("1" * 16, was="1")
    assert decode(stored, None) == Miss("")
    assert decode(stored, b"F" + b"0" * 15) == Miss("", fenced=True)


def test_two_values_of_a_slot_have_two_identities() -> None:
    stored = [
        decode(encode_value(GENERATION, Document(b"{}", "1", v), e, 1), GENERATION.encode())
        for v, e in ((1, 5), (2, 5), (1, 6))
    ]
    assert len({found.identity for found in stored if isinstance(found, Hit)}) == 3


def test_a_value_is_refreshed_after_its_soft_expiry_and_the_dearer_it_is_the_earlier() -> None:
    now_ms = int(time.time() * 1000)
    document = Document(b"{}", "1", 1)
    assert Hit(document, now_ms - 1, 0, b"").wants_refresh()
    assert not Hit(document, now_ms + 60_000, 1, b"").wants_refresh()
    cheap = sum(Hit(document, now_ms + 1_000, 10, b"").wants_refresh() for _ in range(2_000))
    dear = sum(Hit(document, now_ms + 1_000, 1_000, b"").wants_refresh() for _ in range(2_000))
    assert cheap == 0
    assert 500 < dear < 1_000, "about 1/e of readers, one mean load before the expiry"


def test_leases_and_fences_are_misses_that_say_so() -> None:
    token, generation = "t" * 16, "0123456789abcdef"
    lease = f"L{token}{generation}".encode()
    assert decode(lease, generation.encode()) == Miss(generation, lease=token + generation)
    assert decode(lease, b"fedcba9876543210").lease is None, "a new generation voids it"
    assert decode(b"Ftoken", b"g") == Miss("g", fenced=True)
    assert decode(None, b"g") == Miss("g")


def test_the_breaker_opens_after_failures_in_a_row_and_closes_when_a_heartbeat_says_so() -> None:
    told: list[str] = []
    breaker = CircuitBreaker(3, told.append)
    for _ in range(2):
        breaker.failure()
    breaker.success()
    for _ in range(3):
        assert not breaker.is_open
        breaker.failure()
    assert breaker.is_open
    breaker.failure()
    breaker.success()
    assert breaker.is_open, "a command that was under way closes nothing"
    assert told == ["open"]
    breaker.recovered()
    breaker.recovered()
    assert told == ["open", "closed"]
    assert not breaker.is_open


def test_the_hit_rate_of_nothing_is_none() -> None:
    assert hit_rate(0, 0) is None
    assert hit_rate(3, 1) == 0.75


async def test_concurrent_loads_of_a_slot_are_one_and_cancelling_one_harms_no_other() -> None:
    flights = SingleFlight()
    gate = asyncio.Event()
    loads = 0

    async def load(flight: Flight) -> Document:
        nonlocal loads
        loads += 1
        await gate.wait()
        return Document(b"x", "1")

    callers = [asyncio.create_task(flights.run("slot", None, load)) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()
    callers[7].cancel()
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert loads == 1
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 2
    assert sum(result == Document(b"x", "1") for result in results) == 18


async def test_a_reader_does_not_join_a_load_that_began_before_it_unless_its_lease_still_stands() -> None:
    flights = SingleFlight()
    gate = asyncio.Event()
    loads = 0

    async def load(flight: Flight) -> Document:
        nonlocal loads
        loads += 1
        number = loads
        flight.right, flight.loading = f"lease-{number}", True
        await gate.wait()
        return Document(b"%d" % number, "1")

    first = asyncio.create_task(flights.run("slot", None, load))
    await asyncio.sleep(0)
    joined = asyncio.create_task(flights.run("slot", "lease-1", load))
    apart = asyncio.create_task(flights.run("slot", None, load))
    await asyncio.sleep(0)
    gate.set()
    assert [(await task).body for task in (first, joined, apart)] == [b"1", b"1", b"2"]


async def test_an_error_of_a_load_reaches_every_caller_and_the_next_one_loads_again() -> None:
    flights = SingleFlight()

    async def fail(flight: Flight) -> Document:
        raise LookupError("gone")

    results = await asyncio.gather(*(flights.run("slot", None, fail) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, LookupError) for result in results)

    async def load(flight: Flight) -> Document:
        return Document(b"y", "1")

    assert (await flights.run("slot", None, load)).body == b"y"


def test_card_keys_hold_the_id_in_one_form() -> None:
    card_id = uuid.uuid4()
    keys = Keyspace("n")
    assert keys.card(card_id) == keys.card(uuid.UUID(str(card_id).upper()))
    with pytest.raises(AttributeError):
        keys.card("x' OR 1")  # type: ignore[arg-type]  # what a client sends never gets here unparsed
