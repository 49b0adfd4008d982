"""A connection answers hot reads itself, in their order, and hands the rest on."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.opened_connection import CARD, DOCUMENT, HOST, REQUEST, opened


async def test_an_answer_goes_out_as_soon_as_it_is_read() -> None:
    cards, connection, transport = opened()
    connection.data_received(REQUEST)
    assert transport.sent == b""
    cards.readers.pop().set_result(DOCUMENT)
    head, _, body = transport.sent.partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"HTTP/1.1 200 OK", b"content-type: application/json", b'etag: "7.1"', b"content-length: 8",
    ]  # fmt: skip
    assert body == DOCUMENT.body


async def test_what_comes_before_the_answer_waits_and_is_answered_after_it() -> None:
    cards, connection, transport = opened()
    connection.data_received(REQUEST)
    connection.data_received(b"GET /other HTTP/1.1\r\n")
    connection.data_received(HOST + b"\r\n\r\n" + REQUEST)
    assert not transport.reading
    assert len(cards.readers) == 1
    cards.readers.pop().set_result(DOCUMENT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.reading
    assert transport.sent.count(b"HTTP/1.1 200 OK") == 3
    assert transport.sent.index(DOCUMENT.body) < transport.sent.index(b"behind")
    assert cards.readers == [], "what came with another request in one piece is the parser's"


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST[:-2],
        REQUEST.replace(b"GET", b"HEAD"),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        REQUEST.replace(str(CARD).encode(), b"%41"),
        REQUEST[:-2] + b"Content-Length: 0\r\n\r\n",
        REQUEST[:-2] + b"Connection: close\r\n\r\n",
        REQUEST.replace(b"localhost", b"evil.example"),
        REQUEST + REQUEST,
        b"\r\n" + REQUEST,
    ],
)
async def test_what_is_not_known_through_and_through_goes_to_the_application(request_: bytes) -> None:
    cards, connection, transport = opened()
    connection.data_received(request_)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cards.readers == []
    assert (b"content-length: 6" in transport.sent) is (request_ != REQUEST[:-2])


async def test_a_request_in_pieces_is_read_by_the_parser_and_the_next_one_is_hot_again() -> None:
    cards, connection, transport = opened()
    for piece in (REQUEST[:30], REQUEST[30:]):
        connection.data_received(piece)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert b"behind" in transport.sent
    connection.data_received(REQUEST)
    assert len(cards.readers) == 1


async def test_who_has_gone_is_answered_no_more_and_a_server_that_ends_answers_first() -> None:
    cards, connection, transport = opened()
    connection.data_received(REQUEST)
    reader = cards.readers.pop()
    connection.connection_lost(None)
    assert reader.done()
    cards, connection, transport = opened()
    connection.data_received(REQUEST)
    connection.shutdown()
    assert not transport.closed
    cards.readers.pop().set_result(DOCUMENT)
    assert transport.closed
    assert DOCUMENT.body in transport.sent


async def test_what_is_not_there_is_told_in_the_contracts_form() -> None:
    cards, connection, transport = opened()
    connection.data_received(REQUEST)
    cards.readers.pop().set_result(None)
    await asyncio.sleep(0)
    assert transport.sent.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b'"code":"not_found"' in transport.sent
