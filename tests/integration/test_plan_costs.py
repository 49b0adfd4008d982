"""Own times and blocks of plans of many shapes, by the server that is here: they add up to the whole, unclamped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.plan_diff import diff_plans
from archzero_lab.postgres.plans import PlanNode, explain

MADE = """
CREATE TABLE big (id int PRIMARY KEY, g int, w int, t text);
INSERT INTO big SELECT i, i % 1000, i % 7, repeat('x', 20) FROM generate_series(1, 60000) i;
CREATE INDEX big_g ON big (g);
CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (5000);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (5000) TO (10000);
INSERT INTO part SELECT i, i % 10 FROM generate_series(0, 9999) i;
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES big ON DELETE CASCADE);
INSERT INTO child SELECT i, 1 + i % 60000 FROM generate_series(1, 5000) i;
ANALYZE;
"""
PARALLEL = """
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
"""
SHAPES = {
    "join": "SELECT count(*) FROM big a JOIN big b ON b.id = a.g WHERE a.w = 3",
    "nested loop": "SELECT * FROM big a JOIN big b ON b.id = a.id WHERE a.g = 7",
    "cte once": "WITH c AS MATERIALIZED (SELECT g, count(*) n FROM big GROUP BY g) SELECT * FROM c WHERE n > 5",
    "cte twice": (
        "WITH c AS MATERIALIZED (SELECT g, count(*) n FROM big GROUP BY g) SELECT * FROM c a JOIN c b ON a.g = b.n"
    ),
    "cte under a limit": (
        "WITH c AS MATERIALIZED (SELECT * FROM big) SELECT *, (SELECT count(*) FROM c) FROM c ORDER BY id LIMIT 3"
    ),
    "cte partly read": "WITH c AS MATERIALIZED (SELECT * FROM big) SELECT * FROM c LIMIT 5",
    "cte in a cte": (
        "WITH a AS MATERIALIZED (SELECT * FROM big WHERE w = 1), b AS MATERIALIZED (SELECT g FROM a)"
        " SELECT (SELECT count(*) FROM a), count(*) FROM b"
    ),
    "recursive": (
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r JOIN big ON id = n + 1 WHERE n < 500)"
        " SELECT count(*) FROM r"
    ),
    "initplan in a condition": "SELECT * FROM big WHERE g = (SELECT max(g) FROM big)",
    "initplan put out": "SELECT g, (SELECT count(*) FROM big) FROM big WHERE id < 20",
    "initplan read by several": (
        "SELECT (SELECT count(*) FROM big x) FROM big a WHERE a.g = (SELECT min(g) FROM big)"
        " AND a.w < (SELECT count(*) FROM big y) LIMIT 4"
    ),
    "subplan for each row": "SELECT id, (SELECT count(*) FROM big b WHERE b.g = a.g) FROM big a WHERE a.id < 30",
    "hashed subplan": "SELECT count(*) FROM big WHERE g NOT IN (SELECT w FROM big)",
    "union": "SELECT g FROM big WHERE w = 1 UNION SELECT id FROM big WHERE w = 2",
    "window": "SELECT id, sum(w) OVER (PARTITION BY g ORDER BY id) FROM big WHERE id < 3000",
    "partitions": "SELECT count(*) FROM part WHERE v = 3",
    "never ran": "SELECT * FROM big a JOIN big b ON b.id = a.id WHERE a.id < 0",
    "parallel": "SELECT count(*) FROM big WHERE w = 3",
    "parallel without the leader": "SELECT count(*) FROM big",
    "parallel in a cte": ("WITH c AS MATERIALIZED (SELECT w, count(*) n FROM big GROUP BY w) SELECT * FROM c a, c b"),
    "initplan for workers": "SELECT count(*) FROM big WHERE w > (SELECT avg(w) FROM big)",
    "parallel append": "SELECT count(*) FROM part",
    "change in a cte": (
        "WITH d AS (DELETE FROM big WHERE w = 5 AND id > 50000 RETURNING *), i AS (SELECT * FROM d)"
        " SELECT count(*) FROM i"
    ),
    "change in a cte that nobody reads": "WITH d AS (UPDATE big SET t = 'y' WHERE g = 3) SELECT 1",
    "cascade": "DELETE FROM big WHERE id <= 300",
}


@pytest.fixture(scope="module")
def connection(make_database: Callable[..., str]) -> Iterator[Connection]:
    """A database with some tables, its planner left as it is."""
    with connect(make_database("costs", empty=True), autocommit=True) as made:
        made.execute(MADE)
        made.execute("SET jit = off")
        yield made


@pytest.mark.parametrize("shape", SHAPES)
def test_own_times_and_blocks_add_up_to_the_whole(connection: Connection, shape: str) -> None:
    _settle(connection, shape)
    plan = explain(connection, SHAPES[shape], None)
    nodes = list(plan.root.walk())
    whole_ms = plan.root.total_ms + plan.outside_ms
    assert sum(node.exclusive_ms for node in nodes) == pytest.approx(whole_ms, rel=0.01, abs=0.01)
    own_blocks = sum(node.exclusive_blocks for node in nodes)
    assert own_blocks >= plan.shared_blocks
    if plan.outside_ms == 0 and "change" not in shape:
        assert own_blocks == plan.shared_blocks
    for node in nodes:
        assert node.exclusive_blocks >= 0, node.label
        # EXPLAIN rounds a loop's time to a microsecond, of the node and of each below it
        assert node.exclusive_ms >= -_rounding(node) - 0.02 * whole_ms, (node.label, node.exclusive_ms)


def _settle(connection: Connection, shape: str) -> None:
    connection.execute("RESET ALL; SET jit = off")
    if "parallel" in shape or "workers" in shape:
        connection.execute(PARALLEL)
    if "without the leader" in shape:
        connection.execute("SET parallel_leader_participation = off")


def _rounding(node: PlanNode) -> float:
    return 0.001 * (node.loops + sum(child.loops for child in node.children)) + 0.001


def test_a_cascade_s_time_is_a_line_of_its_own(connection: Connection) -> None:
    _settle(connection, "cascade")
    (trigger,) = explain(connection, SHAPES["cascade"], None).triggers
    assert (trigger.name, trigger.calls) == ("child_parent_fkey", 300)
    assert trigger.ms > 0


@pytest.mark.parametrize("shape", ["cte once", "cte twice", "initplan put out", "initplan read by several"])
def test_an_unchanged_plan_measured_again_has_no_other_blocks(connection: Connection, shape: str) -> None:
    _settle(connection, shape)
    before, after = (explain(connection, SHAPES[shape], None) for _ in range(2))
    assert not [line for line in diff_plans(before, after).lines() if "blocks" in line]
