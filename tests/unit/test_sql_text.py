"""SQL as PostgreSQL's parser reads it: statements with lines, what is refused, comparisons, shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.postgres.sql_text import (
    concurrent_index,
    paging_of,
    parameters_of,
    read_file,
    read_statements,
    shape_of,
)  # fmt: skip

TEXT = """-- a comment; with a semicolon
CREATE INDEX a ON t (x);

/* another; */ DO $body$ BEGIN PERFORM 1; END $body$;
BEGIN;
REINDEX TABLE CONCURRENTLY t;
SELECT 'ü; no end' AS "odd; name";
"""


def test_statements_come_with_the_line_where_each_begins() -> None:
    found = read_statements(TEXT, "it.sql")
    assert [(one.line, one.text.split()[0]) for one in found] == [
        (2, "CREATE"), (4, "DO"), (5, "BEGIN"), (6, "REINDEX"), (7, "SELECT"),
    ]  # fmt: skip
    assert [one.begins_or_ends for one in found] == [False, False, True, False, False]
    assert [one.alone for one in found] == [False, False, False, True, False]
    assert found[-1].text.endswith('AS "odd; name"')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT 1;\n\\! id\n", "line 2: \\! id is a command of psql's"),
        ("SELECT 1;\n\\copy t FROM 'x'\n", "line 2: \\copy t FROM 'x' is a command of psql's"),
        ("COPY t FROM PROGRAM 'id';", "line 1: COPY … PROGRAM runs a program on the server"),
        ("SELECT 1;\nCOPY t TO PROGRAM 'sh';", "line 2: COPY … PROGRAM"),
        ("COPY t FROM '/etc/passwd';", "line 1: COPY of the server's file /etc/passwd"),
        ("\nCOPY t FROM stdin;\n1\t2\n\\.\n", "line 2: COPY of standard input"),
        ("SELECT 1;\nSELEC 2;\n", 'line 2: syntax error at or near "SELEC"'),
    ],
)
def test_what_is_no_sql_or_is_not_run_is_refused_by_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_statements(text, "it.sql")
    assert told in str(refused.value)


def test_a_backslash_within_a_string_is_sql() -> None:
    assert len(read_statements("SELECT '\n\\copy t';\nSELECT $$\n\\! id\n$$", "it.sql")) == 2


def test_a_file_with_a_byte_order_mark_is_read_and_one_of_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "it.sql"
    file.write_bytes("SELECT 1;".encode("utf-8-sig"))
    assert [one.text for one in read_file(file)] == ["SELECT 1"]
    file.write_bytes("SELECT 1;\nSELECT 'ü'".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"it\.sql line 2: not UTF-8"):
        read_file(file)


def test_an_index_is_built_concurrently_and_once_however_it_was_written() -> None:
    (one,) = read_statements('create unique index "Odd; n" on only s."T" using gin (x, lower(y)) where z > 1', "it.sql")
    built = concurrent_index(one)
    assert built.startswith('CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "Odd; n" ON ONLY s."T"')
    assert one.new_index is not None
    assert not one.concurrently, "the statement itself is left as it was"
    assert read_statements(built, "again")[0].concurrently


def test_parameters_and_those_that_page() -> None:
    (one,) = read_statements("SELECT '$9' FROM t WHERE a = $2 AND b = $1 LIMIT $4 OFFSET $3 -- $8", "it.sql")
    assert parameters_of(one.node) == [1, 2, 3, 4]
    assert paging_of(one.node) == {4: "LIMIT", 3: "OFFSET"}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (
            "SELECT *  FROM cards\n WHERE id IN (1, 2, 3) AND name = 'it''s'",
            "SELECT * FROM cards WHERE id IN (?) AND name = ?",
        ),
        (
            "SELECT a1 FROM t WHERE b = %s AND c = %(name)s AND d = $1",
            "SELECT a1 FROM t WHERE b = ? AND c = ? AND d = ?",
        ),
        ("SELECT $$x$$, 1.5e3 /* why */", "SELECT ?, ?"),
    ],
)
def test_a_shape_has_no_literals_and_no_comments(text: str, shape: str) -> None:
    assert shape_of(text) == shape
