"""Plans of real queries that PostgreSQL numbers, nests or orders otherwise the second time: who is paired with whom."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.plan_diff import diff_plans
from archzero_lab.postgres.plan_pairs import Pair
from archzero_lab.postgres.plan_steps import Step
from archzero_lab.postgres.plans import explain

MERGED = {"enable_hashjoin": "off", "enable_nestloop": "off"}
HASHED = {"enable_mergejoin": "off", "enable_nestloop": "off"}
PARALLEL = {
    "max_parallel_workers_per_gather": "2", "parallel_setup_cost": "0", "parallel_tuple_cost": "0",
    "min_parallel_table_scan_size": "0", "min_parallel_index_scan_size": "0",
}  # fmt: skip
TABLE = (
    "CREATE TABLE t (k int, v int); INSERT INTO t SELECT i % 500, i % 100 FROM generate_series(1, 20000) i; ANALYZE t"
)
LISTED = (
    "CREATE TABLE t (a int); CREATE TABLE u (a int, b int); INSERT INTO t SELECT generate_series(1, 2000);"
    " INSERT INTO u SELECT i % 900, i FROM generate_series(1, 5000) i; ANALYZE t; ANALYZE u"
)


@pytest.fixture(scope="module")
def database_url(make_database: Callable[..., str]) -> str:
    return make_database("plan_pairs", empty=True)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    schema = f"s{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as made:
        made.execute(f"CREATE SCHEMA {schema}".encode())
        made.execute(f"SET search_path = {schema}; SET jit = off; SET max_parallel_workers_per_gather = 0".encode())
        yield made


def _pairs(
    connection: psycopg.Connection[Any], setup: str, query: str, before: dict[str, str], after: dict[str, str],
    between: str = "", query_after: str = "",
) -> list[Pair]:  # fmt: skip
    plans = []
    for statements, text, settings in ((setup, query, before), (between, query_after or query, after)):
        if statements:
            connection.execute(statements.encode())
        for name, value in settings.items():
            connection.execute(f"SET {name} = {value}".encode())
        plans.append(explain(connection, text, None))
        for name in settings:
            connection.execute(f"RESET {name}".encode())
        connection.execute("SET max_parallel_workers_per_gather = 0")
    return list(diff_plans(plans[0], plans[1]).pairs)


def _said(step: Step | None) -> str | None:
    """What tells a step: its table, or its kind with its keys."""
    if step is None:
        return None
    name = step.node.relation or step.node.alias or step.role
    told = step.node.condition if step.role == "scan" else ",".join(step.node.keys)
    return f"{name} {told or ''}".replace("Filter: ", "").strip()


def _scans(pairs: list[Pair]) -> set[tuple[str | None, str | None]]:
    return {
        (_said(pair.before), _said(pair.after))
        for pair in pairs
        if "scan" in (pair.before.role if pair.before else "", pair.after.role if pair.after else "")
    }


def test_two_scans_of_one_table_are_told_apart_by_what_they_ask_for_where_a_join_swaps_its_inputs(
    connection: psycopg.Connection[Any],
) -> None:
    pairs = _pairs(
        connection, TABLE,
        "SELECT * FROM (SELECT k, count(*) c FROM t GROUP BY k) x JOIN (SELECT DISTINCT k FROM t WHERE v = 6) y"
        " ON y.k = x.k",
        HASHED, MERGED,
    )  # fmt: skip
    scans = [(pair.before, pair.after) for pair in pairs if pair.before and pair.before.node.relation == "t"]
    assert len(scans) == 2
    for one, two in scans:
        assert one is not None
        assert two is not None
        assert (one.node.condition is None) == (two.node.condition is None)
    assert sum(bool(pair.before and pair.after and pair.before.role == "aggregate") for pair in pairs) == 2
    for pair in pairs:
        if pair.before and pair.after and pair.before.role == "aggregate":
            below = [any(node.condition for node in step.node.walk()) for step in (pair.before, pair.after)]
            assert below[0] == below[1]


def test_arms_of_a_union_keep_their_partners_under_a_parallel_append(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE t (a int, b int); INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 20000) i;"
        " ANALYZE t", "SELECT a FROM t WHERE b = 1 UNION ALL SELECT a FROM t WHERE b > 2", {}, PARALLEL,
    )  # fmt: skip
    assert _scans(pairs) == {("t (b = 1)", "t (b = 1)"), ("t (b > 2)", "t (b > 2)")}


def test_scans_of_one_cte_are_told_apart_by_what_they_ask_for(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE t (a int, s int); INSERT INTO t SELECT i % 500, i % 100 FROM"
        " generate_series(1, 20000) i; ANALYZE t",
        "WITH e AS MATERIALIZED (SELECT * FROM t) SELECT * FROM (SELECT a, count(*) c FROM e WHERE s > 50 GROUP BY a) f"
        " JOIN (SELECT a, min(s) FROM e WHERE s = 6 GROUP BY a) g ON g.a = f.a JOIN generate_series(1, 5) x ON x = f.a",
        HASHED, MERGED,
    )  # fmt: skip
    assert {("e (s > 50)", "e (s > 50)"), ("e (s = 6)", "e (s = 6)")} <= _scans(pairs)


def test_an_initplan_is_the_same_under_another_number_of_its_parameter(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE t (a int, b int); INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 20000) i;"
        " ANALYZE t", "SELECT (SELECT count(*) FROM t WHERE b = 1) p, (SELECT count(*) FROM t WHERE b = 2) q,"
        " (SELECT count(*) FROM t WHERE b = 3) r", {}, PARALLEL,
    )  # fmt: skip
    assert _scans(pairs) == {(f"t (b = {n})", f"t (b = {n})") for n in (1, 2, 3)}
    aggregates = [pair for pair in pairs if pair.before and pair.before.role == "aggregate"]
    assert len(aggregates) == 3
    for pair in aggregates:
        assert pair.after is not None
        assert pair.before is not None
        assert pair.before.within == pair.after.within
        assert "Gather" in str([node.node_type for node in pair.after.node.walk()]), "the one that finishes, not a part"


def test_an_alternative_subplan_is_the_one_it_takes_the_place_of(connection: psycopg.Connection[Any]) -> None:
    query = "SELECT a, EXISTS (SELECT 1 FROM u WHERE u.a = t.a) FROM t WHERE a < "
    pairs = _pairs(connection, LISTED + "; CREATE INDEX u_a ON u (a)", query + "3", {}, {}, query_after=query + "2000")
    assert sum(pair.before is not None and pair.after is not None and pair.before.node.relation == "u"
               and pair.after.node.relation == "u" for pair in pairs) == 1  # fmt: skip


def test_a_gather_on_top_of_a_subplan_leaves_its_scan_where_it_was(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, LISTED, "SELECT * FROM t WHERE a IN (SELECT a FROM u WHERE b < 500) OR a = 7", {}, PARALLEL
    )
    assert any(pair.after and pair.after.role == "parallel" for pair in pairs)
    scans = [pair for pair in pairs if "scan" in {step.role for step in (pair.before, pair.after) if step}]
    relations = {tuple(step and step.node.relation for step in (pair.before, pair.after)) for pair in scans}
    assert relations == {("t", "t"), ("u", "u")}


def test_two_aggregates_of_one_table_are_told_apart_by_their_keys(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, TABLE, "SELECT DISTINCT k, n FROM (SELECT k, count(*) n FROM t GROUP BY k) x",
        {"enable_sort": "off"}, {"enable_hashagg": "off"},
    )  # fmt: skip
    kinds = {(pair.before.node.keys, pair.after.node_type) for pair in pairs
             if pair.before and pair.after and pair.before.role == "aggregate"}  # fmt: skip
    assert {after for _, after in kinds} == {"Unique", "Aggregate"}
    assert {len(keys): after for keys, after in kinds} == {1: "Aggregate", 2: "Unique"}


def test_a_sort_by_other_keys_is_another_sort(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE a (id int, x int); INSERT INTO a SELECT i % 100, i FROM generate_series(1, 6000) i;"
        " ANALYZE a", "SELECT DISTINCT id, x % 10, row_number() OVER (PARTITION BY id ORDER BY x) FROM a",
        {}, {"enable_hashagg": "off"},
    )  # fmt: skip
    sorts = {(pair.before.node.keys if pair.before else None, pair.after.node.keys if pair.after else None)
             for pair in pairs if "sort" in {step.role for step in (pair.before, pair.after) if step}}  # fmt: skip
    assert (("id", "x"), ("id", "x")) in {tuple(k and tuple(n.split(".")[-1] for n in k) for k in two) for two in sorts}
    assert sum(None in two for two in sorts) == 1


def test_joins_beside_what_has_no_name_are_told_apart_by_what_they_join(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE r (id int PRIMARY KEY, d date); CREATE TABLE s (rid int PRIMARY KEY, f int);"
        " INSERT INTO r SELECT i, date '2026-11-01' + i % 30 FROM generate_series(1, 4000) i;"
        " INSERT INTO s SELECT i, i % 3 FROM generate_series(1, 4000) i; ANALYZE r; ANALYZE s",
        "WITH dates AS (SELECT generate_series(date '2026-11-01', date '2026-11-30', '1 day')::date d)"
        " SELECT dates.d, q.n FROM dates LEFT JOIN"
        " (SELECT r.d, count(*) n FROM r JOIN s ON s.rid = r.id GROUP BY r.d) q ON q.d = dates.d ORDER BY 1",
        {}, {"enable_hashjoin": "off", "enable_hashagg": "off"},
    )  # fmt: skip
    joins = [pair for pair in pairs if pair.before and pair.before.role == "join" and pair.after]
    assert joins
    for pair in joins:
        assert pair.before is not None
        assert pair.after is not None
        assert ("rid" in str(pair.before.node.condition)) == ("rid" in str(pair.after.node.condition))


def test_a_scan_with_a_subplan_is_the_same_where_the_subplan_hangs_elsewhere(
    connection: psycopg.Connection[Any],
) -> None:
    pairs = _pairs(
        connection, TABLE + "; CREATE INDEX t_k ON t (k)",
        "SELECT t.k, (SELECT max(v) FROM t u WHERE u.k = t.k) FROM t WHERE v = 3 ORDER BY k LIMIT 20", {}, {},
        between="DROP INDEX t_k",
    )  # fmt: skip
    scans = [pair for pair in pairs if "scan" in {step.role for step in (pair.before, pair.after) if step}]
    assert len(scans) == 2
    for pair in scans:
        assert pair.before is not None
        assert pair.after is not None
        assert pair.before.node.alias == pair.after.node.alias


def test_partitions_are_told_apart_by_their_tables(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE p (k int, d int) PARTITION BY RANGE (d);"
        " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
        " CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);"
        " CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30);"
        " INSERT INTO p SELECT i, i % 30 FROM generate_series(1, 9000) i; ANALYZE p",
        "SELECT count(*) FROM p WHERE k > 5", {}, {}, between="ALTER TABLE p DETACH PARTITION p1",
    )  # fmt: skip
    tables = {(pair.before.node.relation if pair.before else None, pair.after.node.relation if pair.after else None)
              for pair in pairs if "scan" in {step.role for step in (pair.before, pair.after) if step}}  # fmt: skip
    assert tables == {("p1", None), ("p2", "p2"), ("p3", "p3")}


def test_a_join_of_other_tables_is_another_join(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE a (id int PRIMARY KEY, b int, c int); CREATE TABLE b (id int PRIMARY KEY, f int);"
        " CREATE TABLE c (id int PRIMARY KEY, f int); INSERT INTO a SELECT i, i % 1000, i % 1000 FROM"
        " generate_series(1, 20000) i; INSERT INTO b SELECT i, i FROM generate_series(0, 999) i;"
        " INSERT INTO c SELECT i, i FROM generate_series(0, 999) i; ANALYZE a; ANALYZE b; ANALYZE c",
        "SELECT * FROM a JOIN b ON b.id = a.b JOIN c ON c.id = a.c WHERE c.f < 10", {"join_collapse_limit": "1"}, {},
    )  # fmt: skip
    for pair in pairs:
        if pair.before and pair.after and pair.before.role == "join":
            assert pair.before.tables == pair.after.tables
    assert sum(pair.before is None for pair in pairs) == sum(pair.after is None for pair in pairs) == 1


def test_a_sort_by_what_a_subquery_names_is_the_one_by_what_that_is(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE a (id int); INSERT INTO a SELECT i FROM generate_series(1, 20) i;"
        " CREATE TABLE b (a int); INSERT INTO b SELECT i % 2000 FROM generate_series(1, 9000) i; ANALYZE a; ANALYZE b",
        "SELECT a.id, x.n FROM a LEFT JOIN (SELECT a, count(*) n FROM b GROUP BY a) x ON x.a = a.id ORDER BY x.n",
        {}, MERGED,
    )  # fmt: skip
    tops = [pair for pair in pairs if pair.before and pair.before.node.depth == 0]
    assert len(tops) == 1
    assert tops[0].before is not None
    assert tops[0].after is not None
    assert tops[0].before.role == tops[0].after.role == "sort"


def test_arms_of_a_union_keep_their_scans_by_what_they_are_joined_with(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE k (id int); INSERT INTO k SELECT i FROM generate_series(1, 3000) i;"
        " CREATE TABLE r (k int, v int); INSERT INTO r SELECT i % 3000, i FROM generate_series(1, 4000) i;"
        " CREATE TABLE q (k int, v int); INSERT INTO q SELECT i, i FROM generate_series(1, 1500) i;"
        " ANALYZE k; ANALYZE r; ANALYZE q",
        "SELECT k.id FROM k JOIN r ON r.k = k.id UNION ALL"
        " SELECT q.k FROM q LEFT JOIN k ON k.id = q.k LEFT JOIN r ON r.k = k.id AND r.v = q.v", {}, PARALLEL,
    )  # fmt: skip
    joins = [pair for pair in pairs if "join" in {step.role for step in (pair.before, pair.after) if step}]
    assert joins
    for pair in joins:
        assert pair.before is not None
        assert pair.after is not None
        relations = [sorted(str(node.relation) for node in step.node.walk() if node.relation)
                     for step in (pair.before, pair.after)]  # fmt: skip
        assert relations[0] == relations[1]


def test_a_distinct_over_groups_of_the_same_keys_is_told_from_them(connection: psycopg.Connection[Any]) -> None:
    pairs = _pairs(
        connection, "CREATE TABLE t (s int, v int); INSERT INTO t SELECT i % 20, i % 3 FROM generate_series(1, 5000) i;"
        " ANALYZE t", "SELECT DISTINCT s FROM t GROUP BY s HAVING count(*) > 1", {"enable_sort": "off"}, {},
    )  # fmt: skip
    having = [pair for pair in pairs if pair.before and pair.before.role == "aggregate"]
    assert len(having) == 2
    for pair in having:
        assert pair.before is not None
        assert pair.after is not None
        assert (pair.before.node.condition is None) == (pair.after.node.condition is None)
