"""Queries in a loop: none in the service, one in a handler made for it is named with its line; sync and async."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.statement_log import (
    GrowsWithItems,
    StatementLog,
    assert_constant_statements,
    hold_constant,
    record_statements,
    shape_of,
)
from archzero_lab.systems.arczero.cards.model import CardFilter, CardRow, CardType, RelationshipFilter
from archzero_lab.systems.arczero.cards.service import CardService
from tests.integration.conftest import PATIENT_POOL

pytest_plugins = ["archzero_lab.pytest_statements"]
SIZES = (1, 10, 100)


def _looping(connection: psycopg.Connection, size: int) -> list[Any]:
    ids = connection.execute("SELECT id FROM cards LIMIT %s", [size]).fetchall()
    return [connection.execute("SELECT name FROM cards WHERE id = %s", [row[0]]).fetchone() for row in ids]


def test_a_handler_that_asks_in_a_loop_is_caught_and_named_with_its_line(connection: psycopg.Connection) -> None:
    with pytest.raises(GrowsWithItems) as caught:
        assert_constant_statements(lambda size: _looping(connection, size))
    told = str(caught.value)
    assert re.match(r"2 statements for 1, 101 for 100: 100 times SELECT name FROM cards WHERE id = \? from ", told)
    assert re.search(r"from test_n_plus_one\.py:\d+ in (_looping|<listcomp>)", told)


def test_the_same_asked_at_once_holds(connection: psycopg.Connection, statement_log: StatementLog) -> None:
    def at_once(size: int) -> None:
        connection.execute("SELECT name FROM cards ORDER BY id LIMIT %s", [size]).fetchall()

    assert assert_constant_statements(at_once) == {1: 1, 10: 1, 100: 1}
    assert len(statement_log) == 3, "the fixture hears what the test sends, and what it measures itself"
    assert list(statement_log.by_shape) == ["SELECT name FROM cards ORDER BY id LIMIT ?"]


async def test_a_loop_in_async_code_is_named_too(database_url: str) -> None:
    logs = {}
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for size in (1, 5):
            with record_statements() as logs[size]:
                for number in range(size):
                    await connection.execute("SELECT %s::int", [number])
    with pytest.raises(GrowsWithItems, match=r"5 times SELECT \?::int from test_n_plus_one\.py:\d+ in test_a_loop"):
        hold_constant(logs)


async def test_no_question_to_the_card_service_takes_more_statements_for_more_items(
    database_url: str, make_database: Callable[..., str]
) -> None:
    database = Database(database_url, PATIENT_POOL)
    await database.open()
    service = CardService(database)
    try:
        first = (await database.row("SELECT id FROM cards LIMIT 1") or (None,))[0]
        questions: dict[str, Callable[[int], Any]] = {
            "list": lambda size: service.cards(CardFilter(page_size=size)),
            "search": lambda size: service.cards(CardFilter(q="service", page_size=size)),
            "filter": lambda size: service.cards(CardFilter(type=CardType("Application"), page_size=size)),
            "relationships": lambda size: service.relationships(RelationshipFilter(card_id=first, page_size=size)),
            "import": lambda size: service.import_cards(
                [CardRow(name=f"Row {size} {number}", type=CardType("Risk")) for number in range(size)]
            ),
        }
        for name, ask in questions.items():
            logs = {}
            for size in SIZES:
                with record_statements() as logs[size]:
                    await ask(size)
            assert len(logs[1]) >= 1, name
            hold_constant(logs)
    finally:
        await database.close()


def test_shapes_leave_out_values_and_the_length_of_lists() -> None:
    assert shape_of("SELECT 1\n FROM t WHERE a IN (%s, %s) AND b='it''s'") == "SELECT ? FROM t WHERE a IN (?) AND b=?"
    assert shape_of("SELECT %(a)s, $1") == "SELECT ?, ?"
