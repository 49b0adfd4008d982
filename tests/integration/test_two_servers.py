"""A team's statements on two sides: a turned plan, other rows and slower statements are named; a side beside itself is
alike."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.jobs.indexes.sides import Side
from archzero_lab.jobs.indexes.two_servers import Beside, Met, beside
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.foreign_copy import statistics_of
from archzero_lab.postgres.plans import parse_plan
from archzero_lab.servers.copy_server import WantedServer, copy_server
from archzero_lab.servers.stack import Stack
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.verdict import Change
from tests.integration.shop import QUERIES, SHOP, somebodys_database

ONE = {"one": '-- $1 = 70\nSELECT * FROM shop."Order" WHERE id = $1', **QUERIES}
NO_INDEX = {"enable_indexscan": "off", "enable_bitmapscan": "off"}


@pytest.mark.parametrize(
    ("ratios", "itself", "said"),
    [
        ([0.50, 0.51, 0.52], [0.99, 1.00, 1.01], Change.IMPROVED),
        ([0.50, 0.51, 0.52], [0.43, 0.46, 0.49], Change.INCONCLUSIVE),
        ([2.00, 2.10, 2.20], [0.80, 1.00, 1.25], Change.REGRESSED),
        ([1.12, 1.15, 1.20], [0.60, 1.00, 1.67], Change.INCONCLUSIVE),
        ([0.98, 1.00, 1.02], [0.80, 1.00, 1.25], Change.EQUIVALENT),
    ],
)
def test_a_difference_counts_only_beyond_what_one_side_differs_from_itself(
    ratios: list[float], itself: list[float], said: Change
) -> None:
    plan = parse_plan([{"Plan": {"Node Type": "Result", "Total Cost": 1.0, "Plan Rows": 1}}])

    def compared(given: list[float]) -> Comparison:
        times = given * 4
        return compare([1.0] * len(times), times)

    assert Met("one", plan, plan, compared(ratios), compared(itself)).speed is said


# an ANALYZE of autovacuum's, in one of two databases alone, is a difference
LEFT_ALONE = "".join(
    f"ALTER TABLE shop.{table} SET (autovacuum_enabled = off);" for table in ("customer", '"Order"', "event_2026")
)


@pytest.fixture(scope="module")
def shop_url(stack: Stack) -> Iterator[str]:
    with somebodys_database(stack, "beside", SHOP + LEFT_ALONE) as url:
        yield url


def _by_case(found: Beside) -> dict[str, list[str]]:
    return {met.case: [met.work.value, met.speed.value] for met in found.met}


def test_a_setting_that_turns_a_plan_is_found_with_what_it_costs(shop_url: str) -> None:
    found = beside(Side(shop_url), Side(shop_url, NO_INDEX), ONE, blocks=6)
    (one,) = (met for met in found.met if met.case == "one")
    assert one.turned
    assert one.lost
    assert one.work is Change.REGRESSED
    assert one.speed is not Change.IMPROVED
    assert "Index Scan using Order_pkey on Order → Seq Scan on Order" in one.lines()[0]
    assert {row.what: row.copy for row in found.differs} == dict.fromkeys(NO_INDEX, "off")
    generic = [met.case for met in found.met if met.case.endswith("any values")]
    assert "one, any values" in generic
    back = beside(Side(shop_url, NO_INDEX), Side(shop_url), {"one": ONE["one"]}, blocks=6)
    (one,) = (met for met in back.met if met.case == "one")
    assert (one.lost, one.work) == (False, Change.IMPROVED)


def test_whether_queries_are_compiled_or_run_side_by_side_is_told_of_the_sides(shop_url: str) -> None:
    other = Side(shop_url, {"jit": "off", "max_parallel_workers_per_gather": "0"})
    found = beside(Side(shop_url, {"jit": "on"}), other, {"one": ONE["one"]}, blocks=6)
    assert {row.what: row.copy for row in found.differs} == {"jit": "off", "max_parallel_workers_per_gather": "0"}


def test_a_database_beside_itself_turns_no_plan_and_reads_the_same(shop_url: str) -> None:
    found = beside(Side(shop_url), Side(shop_url), ONE, blocks=6)
    assert not any(met.turned or met.other_rows for met in found.met)
    assert {met.work for met in found.met} == {Change.EQUIVALENT}
    assert found.differs == []
    assert found.let_go == []


def test_what_changes_rows_is_planned_and_changes_none(shop_url: str) -> None:
    query = 'SELECT md5(string_agg(o::text, $$,$$ ORDER BY id)) FROM shop."Order" o'
    with connect(shop_url) as connection:
        before = connection.execute(query).fetchone()
    found = beside(Side(shop_url), Side(shop_url, NO_INDEX), {"pay": QUERIES["pay"]}, blocks=6)
    assert all(met.time is None for met in found.met)
    assert any(met.turned for met in found.met)
    with connect(shop_url) as connection:
        assert connection.execute(query).fetchone() == before


def test_a_function_that_writes_is_refused_by_the_session(stack: Stack) -> None:
    writes = """
    CREATE TABLE seen (n int);
    CREATE FUNCTION note() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO seen VALUES (1) RETURNING n';
    """
    with somebodys_database(stack, "besidewrites", writes) as url:
        with pytest.raises(DatabaseError, match="read-only transaction"):
            beside(Side(url), Side(url), {"noted": "SELECT note()"}, blocks=6)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM seen").fetchone() == (0,)


def test_rows_that_the_other_side_has_not_are_the_finding(stack: Stack, shop_url: str) -> None:
    other = f'{SHOP} UPDATE shop."Order" SET total = total + 1 WHERE id = 70; ANALYZE;'
    with somebodys_database(stack, "besideother", other) as url:
        found = beside(Side(shop_url), Side(url), {"one": ONE["one"], "mail": QUERIES["by mail"]}, blocks=6)
    assert {met.case.partition(",")[0]: met.other_rows for met in found.met} == {"one": True, "mail": False}


def test_statistics_that_differ_are_named_and_carried_ones_do_not(stack: Stack, shop_url: str) -> None:
    sampled = f'{SHOP} {LEFT_ALONE} ALTER TABLE shop."Order" ALTER total SET STATISTICS 1; ANALYZE shop."Order";'
    with somebodys_database(stack, "besidesampled", sampled) as url:
        told = [row.what for row in beside(Side(shop_url), Side(url), ONE, blocks=6).differs]
        assert any(what.startswith("statistics of ") and 'shop."Order".id' in what for what in told), told
        with statistics_of(shop_url, stack.postgres_programs) as give:
            if give is None:
                pytest.skip("these tools carry no statistics: PostgreSQL 18 and later do")
            give(url)
        told = [row.what for row in beside(Side(shop_url), Side(url), ONE, blocks=6).differs]
        assert not [what for what in told if what.startswith("statistics")]


def test_an_older_server_than_postgresql_12_is_refused_by_name(stack: Stack, shop_url: str) -> None:
    with (
        pytest.raises(SettingsError, match=r"--server-version 11: the database is on PostgreSQL \d\d"),
        copy_server(stack, shop_url, WantedServer(11), oldest=12),
    ):
        pass


def test_two_copies_may_have_a_server_of_one_version_each(stack: Stack, shop_url: str) -> None:
    wanted = WantedServer(programs=stack.postgres_programs)
    with (
        copy_server(stack, shop_url, wanted, side="a") as one,
        copy_server(stack, shop_url, wanted, side="b") as other,
        connect(one.url) as first,
        connect(other.url) as second,
    ):
        assert first.info.server_version == second.info.server_version
        assert first.info.port != second.info.port


def test_a_setting_or_statement_that_is_not_taken_is_named(shop_url: str) -> None:
    with pytest.raises(SettingsError, match="--set work_memory"):
        beside(Side(shop_url), Side(shop_url, {"work_memory": "1"}), ONE)
    with pytest.raises(DatabaseError, match=r"no statement is left: statement lost: .*nothing_there"):
        beside(Side(shop_url), Side(shop_url), {"lost": "SELECT * FROM nothing_there"})
    found = beside(Side(shop_url), Side(shop_url), {"lost": "SELECT * FROM no", "one": ONE["one"]}, blocks=6)
    assert [line.split(":")[0] for line in found.let_go] == ["statement lost"]
    assert _by_case(found)["one"][0] == "equivalent"


def test_an_older_server_than_the_sources_is_refused_for_a_copy(stack: Stack, shop_url: str) -> None:
    with (
        pytest.raises(SettingsError, match=r"--server-version 13: the database is on PostgreSQL \d\d, whose dump"),
        copy_server(stack, shop_url, WantedServer(13)),
    ):
        pass
