"""What a notebook asks of a database that is given by its URL changes nothing there, whatever the text."""

from __future__ import annotations

import pytest

import archzero_lab as lab
from archzero_lab.errors import LabError
from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import Stack
from tests.integration.shop import somebodys_database

pytestmark = pytest.mark.once

ROOM = """
CREATE TABLE room (id int PRIMARY KEY, alias text NOT NULL);
INSERT INTO room SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
"""


@pytest.mark.parametrize(
    "text",
    [
        "COMMIT; CREATE TABLE oops (a int)",
        "SELECT 1; COMMIT; CREATE TABLE oops (a int)",
        "CREATE TABLE oops (a int)",
        "DO $$ BEGIN COMMIT; CREATE TABLE oops (a int); END $$",
        "SELECT nextval('counted')",
        "SELECT set_config('transaction_read_only', 'off', true), grow()",
    ],
)
def test_sql_and_explain_of_a_notebook_write_nothing_into_a_given_database(stack: Stack, text: str) -> None:
    made = """
        CREATE SEQUENCE counted; CREATE TABLE kept (v int); INSERT INTO kept VALUES (1);
        CREATE FUNCTION grow() RETURNS void LANGUAGE sql AS 'INSERT INTO kept VALUES (2)';
    """
    with somebodys_database(stack, "read_only", made) as url:
        for asked in (lab.sql, lab.explain):
            with pytest.raises(LabError):
                asked(text, url=url)
        with connect(url) as connection:
            assert connection.execute("SELECT to_regclass('oops') IS NULL, is_called FROM counted").fetchone() == (
                True, False,
            )  # fmt: skip
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)


def test_explain_of_a_change_to_a_given_database_plans_it_and_runs_nothing(stack: Stack) -> None:
    with somebodys_database(stack, "read_only", ROOM) as url:
        plan = lab.explain("UPDATE room SET alias = %s WHERE id < %s", ["x", 100], url=url)
        assert plan.plan.root.node_type == "ModifyTable"
        assert plan.plan.root.actual_rows is None
        with connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM room WHERE alias = 'x'").fetchone() == (0,)
            dead = connection.execute("SELECT pg_stat_get_dead_tuples('room'::regclass)").fetchone()
            assert dead == (0,)
        assert lab.explain("SELECT * FROM room WHERE id = %s", [7], url=url).plan.root.actual_rows == 1.0
