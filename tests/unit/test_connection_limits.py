"""A connection that keeps us waiting is ended, and no other."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from archzero_lab.systems.arczero.api import connections
from archzero_lab.systems.arczero.api.connections import Connection
from archzero_lab.systems.arczero.cards.model import Document
from tests.unit.opened_connection import ASKED, DOCUMENT, HOST, REQUEST, opened


async def test_a_silent_connection_is_closed_and_one_that_waits_is_not() -> None:
    cards, connection, transport = opened()
    connection._since -= 1_000
    connection.data_received(REQUEST)
    connection._since -= 1_000
    connection._look()
    assert not transport.closed
    cards.readers.pop().set_result(DOCUMENT)
    connection._look()
    assert not transport.closed
    connection._since -= 1_000
    connection._look()
    assert transport.closed


POST = b"POST /api/v1/cards HTTP/1.1\r\n" + HOST + b"\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([ASKED, b"X-Slow: a"], b"408"),
        ([POST, b"1234"], b"408"),
        ([ASKED + b"X-Long: ", b"a" * 40_000, b"a" * 40_000], b"431"),
    ],
)
async def test_who_does_not_come_to_the_end_of_a_request_is_told_so_and_let_go(
    pieces: list[bytes], status: bytes
) -> None:
    _, connection, transport = opened(reads_body=True)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    connection._since -= 20
    connection._look()
    connection._since -= 60
    connection._look()
    assert transport.sent.startswith(b"HTTP/1.1 " + status)
    assert transport.sent.count(b"HTTP/1.1") == 1
    assert transport.closed


async def test_a_large_body_that_comes_steadily_has_its_time() -> None:
    _, connection, transport = opened(reads_body=True)
    connection.data_received(POST.replace(b"Content-Length: 9", b"Content-Length: 9000000"))
    for _ in range(20):
        connection.data_received(b"x" * 100_000)
        await asyncio.sleep(0)
    connection._since -= 100
    connection._look()
    assert not transport.closed
    connection._since -= 100
    connection._look()
    assert transport.sent.startswith(b"HTTP/1.1 408")


async def test_a_request_that_waits_for_the_one_before_is_not_timed_and_ends_nothing() -> None:
    _, connection, transport = opened(waits=True)
    connection.data_received(ASKED + HOST + b"\r\nTE: trailers\r\n\r\n" + POST + b"123456789" + ASKED + b"X-Slow: a")
    await asyncio.sleep(0)
    for _ in range(3):
        connection._since -= 1_000
        connection._look()
    assert (transport.sent, transport.closed) == (b"", False)


async def test_what_is_no_http_after_a_request_lets_that_be_answered() -> None:
    _, connection, transport = opened(reads_body=True)
    connection.data_received(POST + b"123456789")
    connection.data_received(b"nonsense\r\n\r\n")
    assert transport.sent == b""
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.sent.count(b"HTTP/1.1") == 1
    assert b"200 OK" in transport.sent
    assert transport.closed


async def test_a_read_that_is_cancelled_ends_its_connection() -> None:
    cards, connection, transport = opened()

    async def cancelled(question: object, found: Any) -> Document:
        raise asyncio.CancelledError

    cards.finish = cancelled  # type: ignore[method-assign]
    connection.data_received(REQUEST)
    cards.readers.pop().set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.closed
    assert connection.done()


async def test_what_is_no_http_is_told_so_in_the_contracts_form() -> None:
    _, connection, transport = opened()
    connection.data_received(b"nonsense\r\n\r\n")
    assert transport.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in transport.sent
    assert b'"code":"bad_request"' in transport.sent
    assert transport.closed


async def test_headers_that_trickle_have_no_more_time_than_those_that_stop() -> None:
    _, connection, transport = opened()
    connection.data_received(ASKED)
    connection._since -= 20
    connection.data_received(b"X-Slow: a")
    connection._look()
    assert transport.sent.startswith(b"HTTP/1.1 408")


async def test_who_does_not_take_its_answer_is_let_go() -> None:
    _, connection, transport = opened()
    connection.pause_writing()
    connection._since -= 60
    transport.buffered = 900
    connection._look()
    assert not transport.closed, "it takes its answer, if slowly"
    connection._since -= 60
    connection._look()
    assert transport.closed


async def test_one_address_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "most_of_a_client", lambda: 2)
    monkeypatch.setattr(Connection, "_by_client", Counter())
    all_three = [opened() for _ in range(3)]
    assert [transport.closed for _, _, transport in all_three] == [False, False, True]
    assert all_three[2][2].sent.startswith(b"HTTP/1.1 503")
    for _, connection, _ in all_three:
        connection.connection_lost(None)
    assert not opened()[2].closed
