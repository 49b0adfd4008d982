"""A user's statements as cases: values of a database that is not ours, and its own busiest statements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.query_cases import cases_of, looks_for_rows
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.servers.stack import Stack
from tests.integration.shop import QUERIES, somebodys_database


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[str]:
    """Somebody's database, which is only read."""
    with somebodys_database(stack, "shop_cases") as url:
        yield url


def test_parameters_become_cases_of_common_rare_and_middle_values(shop: str) -> None:
    with raw_connection(shop) as connection:
        cases = cases_of(connection, "orders", QUERIES["of a customer"])
        states = {case.values[1] for case in cases}
        assert {case.name for case in cases} <= {"orders, common", "orders, rare", "orders, middle"}
        assert len(states) == 2
        assert states <= {"open", "paid", "sent"}
        assert all(case.values[2] == "20" for case in cases)
        (mail,) = cases_of(connection, "mail", QUERIES["by mail"])
        assert str(mail.values[0]).endswith("@example.org")
        found = cases_of(connection, "like", "SELECT * FROM shop.event WHERE what ILIKE $1")
        # a word anywhere, and the beginning of a text, which an index can serve
        assert {str(case.values[0])[0] for case in found} == {"%", "e"}
        assert all(str(case.values[0]).endswith("%") for case in found)
        marks = ", ".join(f"${number}" for number in range(1, 10))
        listed = cases_of(connection, "list", f"SELECT * FROM shop.event WHERE what IN ({marks}) LIMIT $10")
        assert all(str(value).startswith("event ") for case in listed for value in case.values[:9])
        assert {case.values[9] for case in listed} == {"20"}
        with pytest.raises(DatabaseError, match=r"statement odd: nothing is known of \$1 \(\w+\); a line"):
            cases_of(connection, "odd", "SELECT id FROM shop.customer WHERE $1::int = 1")
        listed = cases_of(connection, "like any", "SELECT * FROM shop.event WHERE what LIKE ANY ($1::text[])")
        assert all(str(case.values[0]).startswith('{"') for case in listed)
        text = "SELECT * FROM shop.event WHERE what = ANY ($1::text[]) LIMIT cardinality($1::text[])"
        assert all(str(case.values[0]).startswith('{"event ') for case in cases_of(connection, "as many", text))
        # it decides no rows: any value does
        assert cases_of(connection, "one", "SELECT $1::int AS one")[0].values == ("1",)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("/* traceparent */ SELECT * FROM t WHERE a = $1", True),
        ("-- why\nWITH x AS (SELECT 1) SELECT * FROM t, x", True),
        ("SELECT * FROM t WHERE at > now() - interval $1", True),
        ("SELECT * FROM t WHERE a = $1 AND", True),
        ("SELECT set_config($1, $2, $3)", False),
        ("SELECT c.oid FROM pg_catalog.pg_class c", False),
        ("SELECT relname FROM pg_class", False),
        ("SELECT * FROM information_schema.tables", False),
        ("UPDATE t SET a = $1 WHERE b = $2", True),
        ("DELETE FROM t WHERE b = $1", True),
        ("INSERT INTO t SELECT * FROM u WHERE b = $1", True),
        ("INSERT INTO t (a) VALUES ($1)", False),
        ("COPY t TO stdout", False),
    ],
)
def test_a_servers_statistics_give_what_looks_for_rows_of_somebodys_tables(text: str, taken: bool) -> None:
    assert looks_for_rows(text) is taken
