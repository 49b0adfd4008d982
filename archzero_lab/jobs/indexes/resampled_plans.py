"""Plans of statements over many ANALYZEs: statistics are made anew, each shape of plan is counted and run once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.plan_shapes import Seen, shape_of_plan
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.plans import Plan, explain_generic, parse_plan
from archzero_lab.postgres.statement import Statement

_LONGEST = "20s"


def tables_of(connection: Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm') AND pg_get_userbyid(c.relowner) = current_user"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()


def over_analyzes(
    connection: Connection, cases: Sequence[Statement], tables: Sequence[tuple[str, str]], analyzes: int, target: int,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Seen]:  # fmt: skip
    """What is seen over so many ANALYZEs at a target."""
    seen_plans = {case.name: Seen(case.name, target) for case in cases}
    generic = {case.sql: Seen(f"{case.name.split(', ')[0]}, any values", target) for case in cases if case.values}
    connection.execute("SELECT set_config('default_statistics_target', $1, false)", [str(target)])
    for number in range(analyzes):
        for table in tables:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))
        for case in cases:
            plan = _planned(connection, case)
            _note(connection, seen_plans[case.name], plan, [case], generic=False)
        for text, seen in generic.items():
            mine = [case for case in cases if case.sql == text]
            _note(connection, seen, explain_generic(connection, text), mine, generic=True)
        progress((number + 1) / analyzes)
    return [*seen_plans.values(), *generic.values()]


def _note(connection: Connection, seen: Seen, plan: Plan, cases: Sequence[Statement], *, generic: bool) -> None:
    """Count a plan; one of a new shape is run, with the values of each of its cases, for the most that it reads."""
    shape = shape_of_plan(plan)
    if shape not in seen.blocks:
        seen.blocks[shape] = max(_blocks(connection, case, generic=generic) for case in cases)
    seen.shapes[shape] += 1


def _planned(connection: Connection, case: Statement) -> Plan:
    try:
        row = connection.execute(("EXPLAIN (FORMAT JSON) " + case.sql).encode(), case.values, prepare=False).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"statement {case.name}: {error.diag.message_primary or error}") from None
    assert row is not None
    return parse_plan(row[0])


def _blocks(connection: Connection, case: Statement, *, generic: bool) -> float:
    """Shared blocks of one run, rolled back; infinite where it does not end in time."""
    mode = "force_generic_plan" if generic else "force_custom_plan"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL statement_timeout = '{_LONGEST}'")
            connection.execute(f"SET LOCAL plan_cache_mode = '{mode}'")
            row = connection.execute(
                ("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + case.sql).encode(), case.values,
                prepare=generic,
            ).fetchone()  # fmt: skip
    except psycopg.errors.QueryCanceled:
        return math.inf
    assert row is not None
    return float(parse_plan(row[0]).shared_blocks)
