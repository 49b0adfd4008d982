"""The index experiment on a copy of a database with other tables than ours: verdicts, costs, bad input."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rich.console import Console

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import DatabaseError, LabError
from archzero_lab.jobs.indexes.measure import measure_indexes
from archzero_lab.jobs.indexes.plans_only import plan_changes
from archzero_lab.jobs.indexes.query_cases import cases_of
from archzero_lab.jobs.indexes.reads import Reads
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.jobs.indexes.verdict import KEPT, IndexVerdict
from archzero_lab.postgres import foreign_copy
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import drop_database
from archzero_lab.postgres.foreign_copy import copy_database
from archzero_lab.postgres.index_catalog import hidden, list_indexes
from archzero_lab.postgres.statement import Statement
from archzero_lab.progress import Reporter
from archzero_lab.reporting.notebooks import NOTEBOOKS, run_notebook
from archzero_lab.servers.stack import Stack
from tests.integration.index_runs import index_request, measured, measured_run
from tests.integration.shop import MIGRATION, QUERIES, SHOP, somebodys_database, state_of


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[str]:
    """Somebody's database, which is only read."""
    with somebodys_database(stack, "shop") as url:
        yield url


def test_each_index_of_a_strange_database_has_its_verdict_and_the_database_is_as_before(
    stack: Stack, shop: str, tmp_path: Path
) -> None:
    before = state_of(shop)
    run, found = measured_run(stack, index_request(shop, tmp_path))
    assert state_of(shop) == before
    assert (
        "<svg" in run_notebook(NOTEBOOKS / "10_indexes.ipynb", tmp_path, {"experiment": str(run.path)}).html.read_text()
    )
    by_name = {finding.name: finding for finding in found.findings}
    verdicts = {name: finding.verdict for name, finding in by_name.items()}
    assert set(verdicts) == {"order_customer", "order_customer_state", "order_total", "customer_pair", "order_once"}
    total = by_name["order_total"]
    if total.verdict is not IndexVerdict.DROP_UNUSED:  # what noise hides of its loss is never a drop
        assert total.verdict is IndexVerdict.UNDECIDED
        assert "times as long without it" in total.why
    assert verdicts["order_once"] is IndexVerdict.KEEP_CONSTRAINT
    assert verdicts["customer_pair"] is IndexVerdict.KEEP_CONSTRAINT
    # one of the two for a customer is enough, whichever the planner took: never are both to go
    pair = [verdicts["order_customer"], verdicts["order_customer_state"]]
    assert any(verdict in KEPT for verdict in pair), pair
    # without both it is a scan of the whole table
    customers = [loss for loss in found.whole if loss.statement.startswith("of a customer")]
    assert customers
    assert all(loss.instead == () for loss in customers)
    for name in ("order_customer", "order_customer_state", "order_total"):
        cost = by_name[name].cost
        assert cost is not None
        assert cost.wal_records == pytest.approx(1.0, abs=0.35), "an index adds a record a row"
        assert cost.wal_bytes > 20
        assert by_name[name].build_s is not None
    total = by_name["order_total"].cost
    assert total is not None
    assert total.hot_lost == ("total",)
    # and so it is: counted, not read from the catalog
    assert total.update is not None
    assert (total.update.column, total.update.hot) == ("total", 0.0)
    assert total.update.hot_without > 0.9
    assert total.update.wal_records >= 1
    shared = by_name["order_customer"].cost
    assert shared is not None
    assert shared.update is not None
    # the other index of that column is there all the same: without this one no update is heap-only either
    assert (shared.update.column, shared.update.hot, shared.update.hot_without) == ("customer_id", 0.0, 0.0)
    rates = {(rate.table, rate.column): rate for rate in found.writes}
    assert {("shop.Order", ""), ("shop.Order", "total"), ("shop.Order", "customer_id")} <= set(rates)
    of_total = rates["shop.Order", "total"]
    assert (of_total.hot["all"], of_total.hot["none"] > 0.9) == (0.0, True)
    assert of_total.wal_records["all"] > of_total.wal_records["none"] + 2
    assert 0 < of_total.times["none"][1] <= of_total.times["none"][0] <= of_total.times["none"][2]
    assert rates["shop.Order", ""].wal_records["all"] > rates["shop.Order", ""].wal_records["none"] + 2
    assert found.rows == {"shop.Order": 40_000, "shop.customer": 2_000}


def test_an_index_of_a_partitioned_table_is_one_index(stack: Stack, shop: str, tmp_path: Path) -> None:
    migration = "CREATE INDEX event_what ON shop.event (what);\nCREATE INDEX event_at ON shop.event (at, what);\n"
    found = measured(
        stack, index_request(shop, tmp_path, migration, {"by what": "SELECT * FROM shop.event WHERE what = $1"})
    )
    verdicts = {finding.name: finding.verdict for finding in found.findings}
    assert set(verdicts) == {"event_what", "event_at"}
    assert verdicts["event_what"] in KEPT
    assert verdicts["event_at"] is IndexVerdict.DROP_UNUSED
    assert found.rows == {"shop.event": 2_000}
    for finding in found.findings:
        assert finding.partitions == 1
        assert finding.cost is not None
        assert finding.cost.wal_records == pytest.approx(1.0, abs=0.35)
        assert finding.cost.update is not None
        # its own column, by values of its own partition
        assert finding.cost.update.column == {"event_what": "what"}.get(finding.name, "at")


def test_a_migration_of_constraints_alone_is_kept_and_has_its_page(stack: Stack, shop: str, tmp_path: Path) -> None:
    migration = 'CREATE UNIQUE INDEX order_once ON shop."Order" (placed, id);'
    request = index_request(shop, tmp_path, migration, {"all": 'SELECT count(*) FROM shop."Order"'})
    run, found = measure_indexes(system_here(), stack, request, Reporter(Console(quiet=True)))
    assert [finding.verdict for finding in found.findings] == [IndexVerdict.KEEP_CONSTRAINT]
    assert found.writes == ()
    assert "order_once" in (run.path / "index.html").read_text()


def test_odd_tables_have_verdicts_and_no_cost_where_nothing_can_be_written(stack: Stack, tmp_path: Path) -> None:
    odd = (
        SHOP
        + """
        CREATE MATERIALIZED VIEW shop.per_day AS SELECT placed, count(*) AS orders FROM shop."Order" GROUP BY placed;
        CREATE TABLE shop.nothing (id int);
        CREATE DOMAIN shop.money AS numeric CHECK (VALUE >= 0);
        CREATE TABLE shop.odd (id int GENERATED ALWAYS AS IDENTITY, price shop.money, note json,
            "same" text DEFAULT 'x', stay daterange, EXCLUDE USING gist (stay WITH &&), CHECK (price < 1e6));
        INSERT INTO shop.odd (price, note, stay) SELECT n, '{}', daterange(date '2026-01-01' + n, date '2026-01-02' + n)
            FROM generate_series(1, 300) n;
    """
    )
    migration = """
        CREATE INDEX day ON shop.per_day (placed);
        CREATE INDEX none ON shop.nothing (id);
        CREATE INDEX odd_id ON shop.odd (id);
        CREATE INDEX odd_same ON shop.odd ("same");
        CREATE INDEX odd_price ON shop.odd (price) WHERE price > 5;
    """
    with somebodys_database(stack, "odd_shop", odd) as url:
        queries = {"day": "SELECT * FROM shop.per_day WHERE placed = $1"}
        found = {
            finding.name: finding
            for finding in measured(stack, index_request(url, tmp_path, migration, queries)).findings
        }
    assert found["day"].cost is None
    assert found["day"].build_s is not None
    assert found["none"].cost is None
    updated = {name: cost.update.column if cost.update else "" for name in ("odd_id", "odd_same", "odd_price")
               if (cost := found[name].cost)}  # fmt: skip
    assert updated == {"odd_id": "", "odd_same": "", "odd_price": "price"}


def test_the_generic_plan_stands_beside_the_plans_of_a_common_and_a_rare_value(stack: Stack) -> None:
    with (
        somebodys_database(stack, "generic", SHOP + 'CREATE INDEX order_state ON shop."Order" (state)') as url,
        raw_connection(url) as connection,
    ):
        text = 'SELECT sum(total) FROM shop."Order" WHERE state = $1'
        by_value = {name: Statement(name, text, (value,)) for name, value in (("common", "sent"), ("rare", "open"))}
        plain = Statement("plain", 'SELECT count(*) FROM shop."Order"')
        reads = Reads(connection, connection, [*by_value.values(), plain], 1, 1)
        reads.explain_all()
        (order_state,) = [index for index in list_indexes(connection) if index.name == "order_state"]
        common, rare, without_parameters = reads.lines([order_state])
        assert "order_state" in rare.with_indexes
        assert "order_state" not in rare.without
        assert common.with_indexes == "Seq Scan on Order"
        # it knows no value: a prepared statement would look the commonest up in the index as well
        assert rare.generic == common.generic == rare.with_indexes
        assert without_parameters.generic is None


@pytest.mark.parametrize(
    ("migration", "queries", "told"),
    [
        (MIGRATION + "\nCREATE INDEX wrong ON shop.nowhere (x);\n", QUERIES, r"migration.sql line 8: .*nowhere"),
        (MIGRATION, {"bad": "SELEC 1"}, r'statement bad line 1: syntax error at or near "SELEC"'),
        (MIGRATION, {"bad": "SELECT * FROM shop.gone WHERE x = $1"}, r'bad: relation "shop.gone" does not exist'),
        ("ANALYZE;", QUERIES, "makes no index"),
    ],
)  # fmt: skip
def test_bad_input_says_what_and_where_and_leaves_nothing(
    stack: Stack, shop: str, tmp_path: Path, migration: str, queries: dict[str, str], told: str
) -> None:
    before = state_of(shop)
    with pytest.raises(LabError, match=told):
        measured(stack, index_request(shop, tmp_path, migration, queries))
    assert state_of(shop) == before


def test_a_url_keeps_whatever_it_says_and_its_password_is_in_no_command(
    stack: Stack, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    run = subprocess.run

    def seen(command: list[str], **given: Any) -> Any:
        commands.append(" ".join(command))
        return run(command, **given)

    monkeypatch.setattr(foreign_copy.subprocess, "run", seen)
    url = shop + "&application_name=theirs&options=-c%20search_path%3Dshop"
    name = stack.database_name("copied")
    copy_database(url, stack.postgres_url, name, stack.postgres_programs, "schema")
    drop_database(stack.postgres_url, name)
    dumps = [command for command in commands if "application_name=theirs" in command]
    assert dumps
    assert all("pg_dump" in command for command in dumps)
    password = shop.split(":")[2].split("@")[0]
    assert not any(password in command for command in commands)


def test_a_role_that_may_not_read_is_told_the_table(stack: Stack, shop: str, tmp_path: Path) -> None:
    with connect(shop, autocommit=True) as connection:
        connection.execute("CREATE ROLE archzero_lab_poor LOGIN PASSWORD 'poor'")
    poor = shop.replace(shop.split("//")[1].split("@")[0], "archzero_lab_poor:poor")
    try:
        with pytest.raises(DatabaseError, match=r"statement all: permission denied for schema shop") as caught:
            measured(stack, index_request(poor, tmp_path))
        assert ":poor" not in str(caught.value)
    finally:
        with connect(shop, autocommit=True) as connection:
            connection.execute("DROP ROLE archzero_lab_poor")


def test_a_hidden_index_is_in_no_plan_and_back_afterwards(shop: str) -> None:
    with raw_connection(shop) as connection, raw_connection(shop) as admin:
        (unique,) = [index for index in list_indexes(connection) if index.name == "customer_e-Mail_key"]
        reads = Reads(connection, admin, [Statement("mail", QUERIES["by mail"], ("c7@example.org",))], 6, 1)
        reads.explain_all()
        assert reads.plans["mail"].indexes == ("customer_e-Mail_key",)
        assert reads.explain(reads.cases[0], [unique]).indexes == ()
        assert reads.explain(reads.cases[0], ()).indexes == ("customer_e-Mail_key",)
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::oid"
        with connect(shop, autocommit=True) as other:
            with hidden(connection, [unique], admin):
                assert other.execute(valid, [unique.oid]).fetchone() == (False,)
            with pytest.raises(DatabaseError), hidden(connection, [unique], admin):
                raise DatabaseError("whatever")
            assert other.execute(valid, [unique.oid]).fetchone() == (True,), "back, however it ended"


def test_plans_without_rows_are_those_of_the_source(stack: Stack, shop: str, tmp_path: Path) -> None:
    request = index_request(shop, tmp_path)
    if stack.settings.servers == "system":
        with pytest.raises(LabError, match="wants the lab's own PostgreSQL 18"):
            plan_changes(stack, request, Reporter(Console(quiet=True)))
        return
    before = state_of(shop)
    found = {change.statement: change for change in plan_changes(stack, request, Reporter(Console(quiet=True)))}
    assert state_of(shop) == before
    assert "plans" not in stack.databases()
    with raw_connection(shop) as connection:
        real = Reads(connection, connection, cases_of(connection, "all", QUERIES["all"]), 6, 1)
        real.explain_all()
    same = found["all"]
    assert [node.label for node in same.before.root.walk()] == [node.label for node in real.plans["all"].root.walk()]
    assert same.costs[0] == pytest.approx(real.plans["all"].root.total_cost, rel=0.02)
    assert same.costs[1] == pytest.approx(same.costs[0], rel=0.02)
    customers = [change for name, change in found.items() if name.startswith("of a customer")]
    assert customers
    for change in customers:
        assert change.before.indexes in ((), ("Order_pkey",))
        assert set(change.after.indexes) & {"order_customer", "order_customer_state"}
        assert change.costs[1] < 0.5 * change.costs[0]
        assert any("order_customer" in step for step in change.steps())
    assert same.steps() == []


def test_the_busiest_statements_come_from_the_server_itself(
    stack: Stack, shop: str, tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    with connect(shop, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            connection.execute("SELECT pg_stat_statements_reset()")
        except psycopg.Error:
            pytest.skip("this server has no pg_stat_statements loaded")
        for number in range(30):
            connection.execute(f"SELECT * FROM shop.\"Order\" WHERE customer_id = {number} AND state = 'paid'")
    request = index_request(shop, tmp_path)
    found = measured(stack, IndexRequest(database_url=shop, migration=request.migration, from_statistics=1, blocks=6))
    asked = {loss.statement.partition(",")[0] for loss in found.whole}
    assert {name for name in asked if not name.startswith("children of")} == {"statement 1"}
    assert any(finding.used_by for finding in found.findings if finding.table == "shop.Order")
