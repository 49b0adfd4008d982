"""Plans of statements over many ANALYZEs: statistics are made anew, each shape of plan is counted and run once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from archzero_lab.jobs.indexes.plan_shapes import UNENDING, Seen, Work, shape_of_plan, work_of_plan
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.generic_plans import explain_generic
from archzero_lab.postgres.plans import Plan, parse_plan
from archzero_lab.postgres.statement import Statement

ANY_VALUES = "any values"
_LONGEST = "20s"


def tables_of(connection: Connection) -> list[tuple[str, str]]:
    """Schema and name of the tables that this role owns."""
    return connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm') AND pg_get_userbyid(c.relowner) = current_user"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()


class Planner:
    """Plans cases, each with its values and each text for any, on a copy of our own whose statistics are made anew.

    What cannot be planned or run is left out from then on, with its reason in `let_go`.
    """

    def __init__(self, connection: Connection, cases: Sequence[Statement], tables: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._cases = list(cases)
        self._texts = {case.sql: text_name(case) for case in cases if case.values}
        self._tables = tables
        self.let_go: list[str] = []

    def over_analyzes(
        self, target: int, analyzes: int, progress: Callable[[float], None] = lambda share: None
    ) -> list[Seen]:
        """What is seen over so many ANALYZEs at a target; over one, where it reads all rows of every table anyway."""
        self._connection.execute("SELECT set_config('default_statistics_target', $1, false)", [str(target)])
        by_chance = self._is_sampled(target)
        times = analyzes if by_chance else 1
        seen: dict[str, Seen] = {}
        for number in range(times):
            for table in self._tables:
                self._connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))
            self._look(seen, target, by_chance)
            progress((number + 1) / times)
        return list(seen.values())

    def without_statistics(self, admin: Connection) -> list[Seen]:
        """What is planned after a load that nobody has analyzed: tables' sizes are known, their contents are not.

        `admin` is a superuser's: statistics are deleted from the catalog.
        """
        for table in self._tables:
            name = sql.Identifier(*table).as_string(self._connection)
            admin.execute(
                "DELETE FROM pg_statistic WHERE starelid = $1::regclass"
                " OR starelid IN (SELECT indexrelid FROM pg_index WHERE indrelid = $1::regclass)",
                [name],
            )
            admin.execute(
                "DELETE FROM pg_statistic_ext_data WHERE stxoid IN"
                " (SELECT oid FROM pg_statistic_ext WHERE stxrelid = $1::regclass)",
                [name],
            )
        seen: dict[str, Seen] = {}
        self._look(seen, None, by_chance=False)
        return list(seen.values())

    def _is_sampled(self, target: int) -> bool:
        """Whether ANALYZE reads a part of some table: of more than 300 rows a unit of its columns' greatest target."""
        rows = self._connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm', 'p') AND CASE c.relkind WHEN 'p' THEN (SELECT sum(leaf.reltuples)"
            "   FROM pg_partition_tree(c.oid) t JOIN pg_class leaf ON leaf.oid = t.relid WHERE t.isleaf)"
            "   ELSE c.reltuples END > 300 * (SELECT max(CASE WHEN a.attstattarget >= 0"
            "   THEN a.attstattarget ELSE $1 END) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)",
            [target],
        ).fetchall()
        return not {tuple(table) for table in rows}.isdisjoint(map(tuple, self._tables))

    def _look(self, seen: dict[str, Seen], target: int | None, by_chance: bool) -> None:
        """Plan all of them now; a plan of a new shape is run, with the values of each of its cases."""
        for case in list(self._cases):
            try:
                plan = self._planned(case)
                self._note(seen.setdefault(case.name, Seen(case.name, target, by_chance)), plan, [case])
            except psycopg.Error as error:
                self._cases.remove(case)
                seen.pop(case.name, None)
                self.let_go.append(f"statement {case.name}: {error.diag.message_primary or error}")
        for text, name in list(self._texts.items()):
            called = f"{name}, {ANY_VALUES}"
            try:
                plan = explain_generic(self._connection, text)
                mine = [case for case in self._cases if case.sql == text]
                if mine:
                    self._note(seen.setdefault(called, Seen(called, target, by_chance)), plan, mine, text)
            except psycopg.Error as error:
                del self._texts[text]
                seen.pop(called, None)
                self.let_go.append(f"statement {called}: {error.diag.message_primary or error}")

    def _note(self, seen: Seen, plan: Plan, cases: Sequence[Statement], generic: str = "") -> None:
        shape = shape_of_plan(plan)
        if shape not in seen.work:
            seen.work[shape] = {case.name: self._work(case, generic) for case in cases}
        seen.shapes[shape] += 1

    def _planned(self, case: Statement) -> Plan:
        row = self._connection.execute(
            ("EXPLAIN (FORMAT JSON) " + case.sql).encode(), case.values, prepare=False
        ).fetchone()
        assert row is not None
        return parse_plan(row[0])

    def _work(self, case: Statement, generic: str) -> Work:
        """What one run does, rolled back; by the plan for any values that is a prepared statement's.

        EXPLAIN of a text plans it with the values that it is sent, whatever plan_cache_mode says: EXECUTE does not.
        """
        statement: sql.Composable = sql.SQL(case.sql)
        try:
            with self._connection.transaction(force_rollback=True):
                self._connection.execute(f"SET LOCAL statement_timeout = '{_LONGEST}'")
                if generic:
                    self._connection.execute("SET LOCAL plan_cache_mode = 'force_generic_plan'")
                    self._connection.execute(("PREPARE archzero_generic AS " + generic).encode(), prepare=False)
                    values = sql.SQL(", ").join(map(sql.Literal, case.values))
                    statement = sql.SQL("EXECUTE archzero_generic({})").format(values)
                text = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + statement.as_string(self._connection)
                row = self._connection.execute(
                    text.encode(), None if generic else case.values, prepare=False
                ).fetchone()
        except psycopg.errors.QueryCanceled:
            return UNENDING
        finally:
            if generic:
                self._connection.execute("DEALLOCATE ALL")
        assert row is not None
        return work_of_plan(parse_plan(row[0]))


def text_name(case: Statement) -> str:
    """What a case's text is called, without the kind of its values."""
    return case.name.split(", ")[0]
