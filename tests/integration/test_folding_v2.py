"""Index set v2's counts and words: changes folded by whoever passes, whatever else is under way; and the way back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from archzero_lab.postgres.migrations import Migrations
from tests.integration.v2_cards import connection, database_url, insert, kinds

__all__ = ["connection", "database_url"]


def test_what_another_transaction_has_not_committed_is_neither_folded_nor_lost(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    with psycopg.connect(database_url) as slow, psycopg.connect(database_url) as folding:
        insert(slow, f"Slow {uuid.uuid4()}", "unheardofword")
        insert(folding, f"Folding {uuid.uuid4()}", "anotherword")
        folding.execute("SELECT card_changes_fold()")
        # a third writer passes by: it neither waits for the fold nor undoes it
        connection.execute("SET lock_timeout = '2s'")
        insert(connection, f"Third {uuid.uuid4()}", "third")
        connection.execute("SELECT card_changes_fold()")
        folding.commit()
        slow.commit()
        waiting = connection.execute("SELECT count(*) FROM card_changes").fetchone()
        assert waiting is not None
        assert waiting[0] >= 2
        counted, kept = kinds(connection)
        assert counted == kept
        connection.execute("SELECT card_changes_fold()")
        counted, kept = kinds(connection)
        assert counted == kept
    known = connection.execute(
        "SELECT count(*) FROM card_vocabulary WHERE word IN ('unheardofword', 'anotherword', 'third')"
    )
    assert (known.fetchone() or (0,))[0] == 3


def test_a_transaction_with_an_older_snapshot_leaves_the_fold_to_others(database_url: str) -> None:
    with psycopg.connect(database_url) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        insert(old, f"Old {uuid.uuid4()}", "oldword")
        old.execute("SELECT card_changes_fold()")
        waiting = old.execute("SELECT count(*) FROM card_changes").fetchone()
        assert waiting is not None
        assert waiting[0] >= 1


def test_a_load_of_thousands_folds_once_at_its_end_and_a_stream_of_writes_now_and_then(
    connection: psycopg.Connection[Any],
) -> None:
    columns = "(name, type, lifecycle_phase, quality_score, description)"
    rows = "SELECT 'Many ' || i, 'Risk', 'Active', 1, 'manyword' || i FROM generate_series(1, %s) i"
    connection.execute(f"INSERT INTO cards {columns} {rows}", [2_500])
    left = connection.execute("SELECT count(*) FROM card_changes").fetchone()
    assert left is not None
    assert left[0] == 0
    for number in range(1_100):
        insert(connection, f"Single {number} {uuid.uuid4()}", "stream")
    left = connection.execute("SELECT count(*) FROM card_changes").fetchone()
    assert left is not None
    assert left[0] < 1_000
    counted, kept = kinds(connection)
    assert counted == kept


def test_a_change_of_quality_is_heap_only_and_told_to_nobody(connection: psycopg.Connection[Any]) -> None:
    """No index of v2 has a column that people change all day; a row leaves a full page once and then stays."""
    connection.execute("SELECT card_changes_fold()")
    card = insert(connection, f"Often changed {uuid.uuid4()}", "text")
    connection.execute("SELECT card_changes_fold()")
    for quality in range(20):
        connection.execute("UPDATE cards SET quality_score = %s, updated_at = now() WHERE id = %s", [quality, card])
    connection.execute("SELECT pg_stat_force_next_flush()")
    updated = connection.execute("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'cards'").fetchone()
    assert updated is not None
    assert updated[0] >= 19
    assert connection.execute("SELECT count(*) FROM card_changes").fetchone() == (0,)


def test_truncated_cards_count_nothing(make_database: Callable[[str], str]) -> None:
    url = make_database("search_v2_truncated")
    Migrations(url).up()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE cards CASCADE")
        assert kinds(connection) == ([], [])
        insert(connection, "After", "all")
        counted, kept = kinds(connection)
        assert counted == kept == [("Risk", "Active", "active", 1)]


_EARLIER = """
DROP INDEX idx_cards_words_week, idx_cards_labels;
CREATE INDEX idx_cards_tags ON cards USING gin (tags);
CREATE INDEX idx_cards_words ON cards USING gin (card_words(name, description));
CREATE INDEX idx_cards_attributes_path ON cards USING gin (attributes jsonb_path_ops);
DROP FUNCTION card_week;
DROP FUNCTION card_words_note, card_words_end CASCADE;
DROP FUNCTION card_words_forget;
DROP TABLE card_words_gone;
DELETE FROM _yoyo_migration WHERE migration_id ~ '^002_0(4|6|8|9)';
"""


@pytest.mark.parametrize("goes_on", [True, False], ids=["up", "down"])
def test_the_set_as_it_was_before_it_had_weeks_goes_on_and_back(
    make_database: Callable[[str], str], goes_on: bool
) -> None:
    url = make_database(f"search_v2_earlier_{goes_on}")
    migrations = Migrations(url)
    migrations.up()
    with psycopg.connect(url) as connection:
        connection.execute(_EARLIER)
    if goes_on:
        assert len(migrations.up()) == 4
        with psycopg.connect(url) as connection:
            names = {
                row[0]
                for row in connection.execute(
                    "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx_%'"
                ).fetchall()
            }
        assert {"idx_cards_words_week", "idx_cards_labels"} < names
        assert len(names) == 9
    migrations.down()
    with psycopg.connect(url) as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^(card_|idx_card)' AND relkind IN ('r', 'i')"
        ).fetchone()
    assert left == (0,)


def test_the_set_goes_back_to_phase_5_and_to_nothing(make_database: Callable[[str], str]) -> None:
    url = make_database("search_v2_down")
    migrations = Migrations(url)

    def names() -> set[str]:
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx_%'").fetchall()
            return {row[0] for row in rows}

    migrations.up(index_set="phase5")
    phase_5 = names()
    assert len(phase_5) == 25
    migrations.up()
    assert len(names()) == 9
    with migrations._backend() as (backend, found):
        for migration in backend.to_rollback(found):
            if migration.id.startswith("002"):
                backend.rollback_one(migration)
    assert names() == phase_5
    migrations.down()
    with psycopg.connect(url) as connection:
        left = connection.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'card\\_%'").fetchone()
    assert names() == set()
    assert left == (0,)
