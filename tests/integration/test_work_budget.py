"""A budget of statements and blocks: held by code on psycopg, named where it is not; as a block and as a marker."""

from __future__ import annotations

import psycopg
import pytest

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.work_budget import WorkOverBudget, work_budget
from archzero_lab.servers.stack import Stack

pytest_plugins = ["archzero_lab.pytest_statements", "pytester"]


def test_what_stays_within_its_budget_passes_and_is_told(connection: psycopg.Connection) -> None:
    with work_budget(statements=2, blocks=10_000) as done:
        connection.execute("SELECT count(*) FROM cards").fetchone()
        connection.execute("SELECT name FROM cards WHERE name = %s", ["none"]).fetchall()
    assert len(done.statements) == 2
    assert set(done.blocks) == {"SELECT count(*) FROM cards", "SELECT name FROM cards WHERE name = ?"}
    assert all(number > 0 for number in done.blocks.values())


def test_a_statement_too_many_is_named_with_its_line(connection: psycopg.Connection) -> None:
    def three() -> None:
        with work_budget(statements=2):
            for number in range(3):
                connection.execute("SELECT %s::int", [number])

    with pytest.raises(WorkOverBudget) as caught:
        three()
    told = str(caught.value)
    assert told.startswith("3 statements, 2 allowed: 3 times SELECT ?::int from test_work_budget.py:")


def test_blocks_too_many_are_named_with_their_statement(connection: psycopg.Connection) -> None:
    with pytest.raises(WorkOverBudget) as caught, work_budget(blocks=2):
        connection.execute("SELECT count(*) FROM cards").fetchone()
    told = str(caught.value)
    assert "blocks, 2 allowed: " in told
    assert told.endswith(" by SELECT count(*) FROM cards")


def test_the_last_statement_of_an_open_transaction_counts(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        with work_budget(blocks=1_000_000) as done:
            connection.execute("SELECT count(*) FROM cards WHERE name > %s", [""]).fetchone()
        assert list(done.blocks) == ["SELECT count(*) FROM cards WHERE name > ?"]
        assert connection.execute("SELECT 1").fetchone() == (1,), "it goes on in its transaction"


async def test_the_last_statement_of_an_open_transaction_counts_async(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        with work_budget(blocks=1_000_000) as done:
            await (await connection.execute("SELECT count(*) FROM cards WHERE name > %s", [""])).fetchone()
        assert list(done.blocks) == ["SELECT count(*) FROM cards WHERE name > ?"]
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


def test_a_part_of_a_test_has_a_budget_by_its_fixture(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["archzero_lab.pytest_statements"]')
    pytester.makepyfile(
        """
        def test_part(work_budget):
            with work_budget(statements=0):
                pass
        """
    )
    pytester.runpytest("-p", "no:xdist").assert_outcomes(passed=1)


def test_the_same_statement_reads_the_same_blocks_each_time(connection: psycopg.Connection) -> None:
    found = []
    connection.execute("SELECT max(name) FROM cards WHERE name > %s", ["a"])  # a session's first reads more: its caches
    for _ in range(3):
        with work_budget(blocks=1_000_000) as done:
            connection.execute("SELECT max(name) FROM cards WHERE name > %s", ["a"]).fetchone()
        found.append(done.blocks)
    assert found[0] == found[1] == found[2] != {}


def test_a_server_side_cursor_is_one_statement_with_the_blocks_of_all_its_rows(connection: psycopg.Connection) -> None:
    query = "SELECT name FROM cards WHERE name > %s"
    rows = len(connection.execute(query, [""]).fetchall())
    assert rows > 100
    with (
        work_budget(statements=1, blocks=1_000_000) as done, connection.transaction(),
        connection.cursor('the "names"') as cursor,
    ):  # fmt: skip
        cursor.itersize = rows // 5
        cursor.execute(query, [""])
        assert len(list(cursor)) == rows
    ((shape, blocks),) = done.blocks.items()
    assert shape == "SELECT name FROM cards WHERE name > ?"
    assert blocks > 10, "its rows are read when they are fetched, not when it is declared"

    def twice() -> None:
        with work_budget(statements=1), connection.transaction():
            for _ in range(2):
                with connection.cursor("again") as cursor:
                    cursor.execute("SELECT 1")

    with pytest.raises(WorkOverBudget, match=r"2 statements, 1 allowed: 2 times SELECT \? from test_work_budget\.py"):
        twice()


async def test_an_async_server_side_cursor_is_heard_too(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        with work_budget() as done:
            async with connection.cursor("far") as cursor:
                await cursor.execute("SELECT 1 FROM cards")
                await cursor.fetchall()
    assert [sent.shape for sent in done.statements.sent] == ["SELECT ? FROM cards"]


def test_what_fails_in_the_block_is_not_hidden_by_the_budget(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), work_budget(statements=0, blocks=0):
        connection.execute("SELECT 1 / 0")


def test_blocks_that_nobody_counts_are_said_to_be_missing(stack: Stack) -> None:
    url = create_database(stack.postgres_url, stack.database_name("uncounted"))
    try:
        with (
            psycopg.connect(url) as connection,
            pytest.raises(DatabaseError, match=r"no blocks can be counted: .*; add pg_stat_statements"),
            work_budget(blocks=1),
        ):
            connection.execute("SELECT 1")
    finally:
        drop_database(stack.postgres_url, stack.database_name("uncounted"))


def test_the_marker_fails_a_test_that_does_more_and_passes_one_that_does_not(
    pytester: pytest.Pytester, database_url: str
) -> None:
    pytester.makeconftest('pytest_plugins = ["archzero_lab.pytest_statements"]')
    pytester.makepyfile(
        f"""
        import psycopg, pytest

        @pytest.fixture
        def connection():
            with psycopg.connect({database_url!r}) as made:
                made.execute("SELECT 'not counted: a fixture'")
                yield made

        @pytest.mark.work_budget(statements=1, blocks=10_000)
        def test_within(connection):
            connection.execute("SELECT count(*) FROM cards")

        @pytest.mark.work_budget(statements=1)
        def test_over(connection):
            connection.execute("SELECT 1")
            connection.execute("SELECT 2")
        """
    )
    told = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    told.assert_outcomes(passed=1, failed=1)
    told.stdout.fnmatch_lines(["*WorkOverBudget: 2 statements, 1 allowed: once SELECT ? from *test_over; once *"])
