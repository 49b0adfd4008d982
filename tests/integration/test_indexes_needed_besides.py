"""Indexes that no query's plan reads and that something needs: never a drop, and the verdict says what keeps it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from archzero_lab.jobs.indexes.lint import lint_schema
from archzero_lab.jobs.indexes.page import warnings_of
from archzero_lab.jobs.indexes.reads import Reads
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.jobs.indexes.verdict import Finding, IndexVerdict
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.index_catalog import list_indexes
from archzero_lab.postgres.index_purposes import foreign_keys, purposes
from archzero_lab.postgres.statement import Statement
from archzero_lab.servers.stack import Stack
from tests.integration.index_runs import index_request, measured, measured_run
from tests.integration.shop import somebodys_database

FAMILY = """
CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE kept_parent (id int PRIMARY KEY);
CREATE TABLE child (
    id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE {action},
    kept_id int REFERENCES kept_parent, token text
);
INSERT INTO parent SELECT g, 'p' || g FROM generate_series(1, 20000) g;
INSERT INTO kept_parent SELECT generate_series(1, 20000);
INSERT INTO child SELECT g, 1 + g % 20000, 1 + g % 20000, md5(g::text) FROM generate_series(1, 40000) g;
ANALYZE;
"""
NESTED = """
CREATE TABLE line (id int PRIMARY KEY, k int, v int);
INSERT INTO line SELECT i, i % 5000, i FROM generate_series(1, 40000) i;
CREATE FUNCTION total(p int) RETURNS bigint LANGUAGE plpgsql STABLE AS
    'BEGIN RETURN (SELECT sum(v) FROM line WHERE k = p); END';
CREATE TABLE audited (id int PRIMARY KEY, v int);
INSERT INTO audited SELECT i, 0 FROM generate_series(1, 2000) i;
CREATE FUNCTION looks() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM 1 FROM line WHERE v = NEW.id; RETURN NULL; END';
CREATE TRIGGER looks AFTER UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION looks();
CREATE TABLE tenant_row (id int PRIMARY KEY, tenant int NOT NULL, v text);
INSERT INTO tenant_row SELECT i, i % 3000, 'v' || i FROM generate_series(1, 50000) i;
ALTER TABLE tenant_row ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON tenant_row USING (tenant = current_setting('app.tenant', true)::int);
CREATE TABLE ordered (id int PRIMARY KEY, at int NOT NULL);
INSERT INTO ordered SELECT i, -i FROM generate_series(1, 20000) i;
ANALYZE;
"""
IDLE = {"by key": "SELECT * FROM parent WHERE id = $1", "children": "SELECT * FROM child WHERE id = $1"}


def _found(stack: Stack, made_by: str, migration: str, queries: dict[str, str], folder: Path) -> dict[str, Finding]:
    with somebodys_database(stack, "needed", made_by) as url:
        return {one.name: one for one in measured(stack, index_request(url, folder, migration, queries)).findings}


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"])
def test_the_only_index_of_a_foreign_key_is_kept_by_it_and_a_useless_one_beside_it_is_not(
    stack: Stack, tmp_path: Path, action: str
) -> None:
    migration = "CREATE INDEX child_parent ON child (parent_id); CREATE INDEX child_token ON child (token);"
    found = _found(stack, FAMILY.format(action=action), migration, IDLE, tmp_path)
    kept = found["child_parent"]
    # what the key's look-up loses without it may be lost in a busy machine's noise: kept it is all the same
    assert kept.verdict in (IndexVerdict.KEEP, IndexVerdict.KEEP_NEEDED)
    assert any(case.startswith("children of parent (child_parent_id_fkey)") for case in kept.used_by)
    assert "the only index of foreign key child_parent_id_fkey" in kept.why
    assert found["child_token"].verdict is IndexVerdict.DROP_UNUSED


def test_of_two_indexes_that_serve_a_foreign_key_one_stays(stack: Stack, tmp_path: Path) -> None:
    migration = "CREATE INDEX short ON child (parent_id); CREATE INDEX long ON child (parent_id, token);"
    found = _found(stack, FAMILY.format(action="CASCADE"), migration, IDLE, tmp_path)
    verdicts = [found[name].verdict for name in ("short", "long")]
    assert sum(verdict in (IndexVerdict.KEEP, IndexVerdict.UNDECIDED) for verdict in verdicts) >= 1, verdicts


def test_a_delete_of_the_list_finds_the_index_that_its_cascade_needs(stack: Stack, tmp_path: Path) -> None:
    queries = {"clear": "DELETE FROM parent WHERE id BETWEEN 1 AND 20"}
    migration = "CREATE INDEX child_parent ON child (parent_id); CREATE INDEX child_kept ON child (kept_id);"
    found = _found(stack, FAMILY.format(action="CASCADE"), migration, queries, tmp_path)
    assert "clear" in found["child_parent"].used_by
    assert "clear" not in found["child_kept"].why


def test_what_functions_triggers_policies_and_cluster_need_is_kept(stack: Stack, tmp_path: Path) -> None:
    queries = {
        "function": "SELECT total(77)",
        "trigger": "UPDATE audited SET v = v + 1 WHERE id = 5",
        "plain": "SELECT * FROM ordered WHERE id = $1",
        "row": "SELECT * FROM tenant_row WHERE id = $1",
    }
    migration = (
        "CREATE INDEX line_k ON line (k); CREATE INDEX line_v ON line (v); CREATE INDEX tenant ON tenant_row (tenant);"
        "CREATE INDEX idle ON tenant_row (v); CREATE INDEX ordered_at ON ordered (at);"
        "CLUSTER ordered USING ordered_at;"
    )
    found = _found(stack, NESTED, migration, queries, tmp_path)
    for name, by in (("line_k", "function"), ("line_v", "trigger")):
        assert found[name].verdict is IndexVerdict.KEEP
        assert by in found[name].used_by
        assert found[name].why.startswith(f"{by}: ")
    assert found["tenant"].verdict is IndexVerdict.KEEP_NEEDED
    assert found["tenant"].why == "policy mine asks for its column in each statement"
    assert found["ordered_at"].verdict is IndexVerdict.KEEP_NEEDED
    assert "CLUSTER" in found["ordered_at"].why
    # a busy machine may want more blocks of the update, whose triggers could read any table
    assert found["idle"].verdict in (IndexVerdict.DROP_UNUSED, IndexVerdict.UNDECIDED)


def test_a_partial_index_serves_a_foreign_key_only_where_it_holds_every_child(stack: Stack) -> None:
    indexes = (
        "CREATE INDEX no_nulls ON child (parent_id) WHERE parent_id IS NOT NULL;"
        "CREATE INDEX few ON child (kept_id) WHERE kept_id > 5; CREATE INDEX brin ON child USING brin (kept_id);"
    )
    with (
        somebodys_database(stack, "partial", FAMILY.format(action="CASCADE") + indexes) as url,
        connect(url) as connection,
    ):
        oid = connection.execute("SELECT 'no_nulls'::regclass::oid::bigint").fetchone()
        assert oid is not None
        assert list(purposes(connection)) == [oid[0]]
        assert [key.served_by for key in foreign_keys(connection)] == [(oid[0],), ()]


def test_what_a_source_has_invalid_or_switched_off_is_told_beside_the_verdicts(stack: Stack, tmp_path: Path) -> None:
    with somebodys_database(stack, "needed", NESTED) as url:
        with connect(url, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("CREATE UNIQUE INDEX CONCURRENTLY line_k ON line (k)")
            connection.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_indexscan = off',"
                               " current_database()); END $$")  # fmt: skip
        migration = "CREATE INDEX IF NOT EXISTS line_k ON line (k)"
        request = index_request(url, tmp_path, migration, {"by k": "SELECT * FROM line WHERE k = $1"})
        run, _ = measured_run(stack, request)
    told = run.index_experiment
    assert told["planner"]["enable_indexscan"] == "off"
    invalid, switch = warnings_of(told)
    assert invalid.startswith("the source has line_k INVALID")
    assert invalid.endswith("first DROP INDEX CONCURRENTLY public.line_k")
    assert switch == "plans were made with enable_indexscan off, as that role and database have it"
    assert switch in (run.path / "index.html").read_text()


def test_lint_names_a_foreign_key_that_a_migration_leaves_without_an_index(stack: Stack, tmp_path: Path) -> None:
    made_by = FAMILY.format(action="CASCADE") + "CREATE INDEX child_parent ON child (parent_id);"
    file = tmp_path / "drops.sql"
    with somebodys_database(stack, "linted", made_by) as url:
        for text, told in (
            ("DROP INDEX child_parent;", ["child_parent_id_fkey"]),
            ("CREATE INDEX wider ON child (parent_id, token); DROP INDEX child_parent;", []),
        ):
            file.write_text(text)
            faults = lint_schema(stack, url, file)
            assert [fault.where for fault in faults if fault.rule == "foreign-key-without-index"] == told


def test_changes_that_are_rolled_back_leave_no_rows_for_the_next_run(stack: Stack) -> None:
    made = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 5000) i;"
    with (
        somebodys_database(stack, "swept", made + "CREATE INDEX t_v ON t (v);") as url,
        raw_connection(url) as connection,
    ):
        case = Statement("all", "UPDATE t SET v = v + 1")
        there = list_indexes(connection)
        reads = Reads(connection, connection, [case], 6, 1, there)
        reads.explain_all()
        before = connection.execute("SELECT pg_relation_size('t')").fetchone()
        reads.loss(case, [index for index in there if index.name == "t_v"])
        after = connection.execute("SELECT pg_relation_size('t')").fetchone()
    assert before is not None
    assert after is not None
    assert after[0] < 12 * before[0], "some forty runs of it would have left forty times as much"


BESIDE = """
CREATE TABLE member (id int PRIMARY KEY, login text, tenant int);
CREATE TABLE doc (id int PRIMARY KEY, tenant int, body text);
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_members ON doc USING (EXISTS (SELECT FROM member m WHERE m.login = current_setting('a.b') AND
    m.tenant = doc.tenant));
CREATE TABLE part (tenant int, v int) PARTITION BY RANGE (v);
CREATE TABLE part_1 (v int, tenant int);
ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (100);
ALTER TABLE part ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_parts ON part USING (tenant = 1);
CREATE TABLE tens (id int PRIMARY KEY, tenant int, t text);
ALTER TABLE tens ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_tens ON tens USING ((tenant % 10) = 2);
INSERT INTO tens SELECT i, i, 'T' || i FROM generate_series(1, 2000) i;
CREATE INDEX member_login ON member (login);
CREATE INDEX doc_body ON doc (body);
CREATE INDEX part_1_tenant ON part_1 (tenant);
CREATE INDEX part_1_v ON part_1 (v);
CREATE INDEX tens_ten ON tens ((tenant % 10));
CREATE INDEX tens_lower ON tens (lower(t));
ANALYZE;
"""


def test_policies_name_columns_of_any_table_and_an_expressions_statistics_are_needed(stack: Stack) -> None:
    with somebodys_database(stack, "beside", BESIDE) as url, connect(url, autocommit=True) as connection:
        names = {index.oid: index.name for index in list_indexes(connection)}
        for index in list_indexes(connection):
            names |= {part.oid: part.name for part in index.parts}
        needed = {names[oid]: words for oid, words in purposes(connection).items() if oid in names}
        assert {"member_login", "part_1_tenant", "tens_ten", "tens_lower"} <= set(needed)
        assert not {"doc_body", "part_1_v"} & set(needed)
        assert "its expression by its statistics alone" in needed["tens_lower"][0]
        connection.execute("CREATE STATISTICS of_lower ON lower(t) FROM tens")
        connection.execute("ANALYZE tens")
        assert "tens_lower" not in {names.get(oid) for oid in purposes(connection)}


LINTED = """
CREATE TABLE par (id int PRIMARY KEY);
CREATE TABLE c1 (id int PRIMARY KEY, p int CONSTRAINT fk_par REFERENCES par, at int NOT NULL);
CREATE TABLE c2 (id int PRIMARY KEY, p int CONSTRAINT fk_par REFERENCES par);
CREATE INDEX c1_par ON c1 (p);
CREATE INDEX c2_par ON c2 (p);
CREATE INDEX clu ON c1 (at, id);
CLUSTER c1 USING clu;
CREATE UNIQUE INDEX ri_u ON c1 (at, p, id);
"""


def test_lint_knows_keys_by_their_tables_new_ones_too_and_what_else_an_index_is_for(
    stack: Stack, tmp_path: Path
) -> None:
    migration = tmp_path / "m.sql"
    migration.write_text(
        "DROP INDEX c1_par; DROP INDEX clu;"
        " CREATE TABLE nt (id int PRIMARY KEY, p int CONSTRAINT nt_par REFERENCES par);"
    )
    with somebodys_database(stack, "linted", LINTED) as url:
        faults = lint_schema(stack, url, migration)
    assert [(fault.where, fault.rule) for fault in faults] == [
        ("clu", "needed-besides"), ("fk_par", "foreign-key-without-index"), ("nt_par", "foreign-key-without-index"),
    ]  # fmt: skip
    assert "all of c1" in faults[1].message
    assert faults[2].message.startswith("a new foreign key, and no index")
