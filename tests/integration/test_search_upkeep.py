"""Index set v2's words and counts: those of deleted cards are forgotten, a load without triggers is noticed, mended."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from archzero_lab.errors import DatabaseError, LabError
from archzero_lab.postgres.migrations import Migrations
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.search_upkeep import look, mend
from tests.integration.v2_cards import connection, database_url, insert, kinds

__all__ = ["connection", "database_url"]


def _known(connection: psycopg.Connection[Any], *words: str) -> set[str]:
    rows = connection.execute("SELECT DISTINCT word FROM card_vocabulary WHERE word = ANY (%s)", [list(words)])
    return {row[0] for row in rows.fetchall()}


def _load_without_triggers(connection: psycopg.Connection[Any], word: str, cards: int) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description) SELECT 'Loaded ' || %s || i,"
            " 'Risk', 'Active', 50, %s || i FROM generate_series(1, %s) i",
            [word, word, cards],
        )


def test_words_of_deleted_cards_are_forgotten_but_for_those_that_another_card_has(
    connection: psycopg.Connection[Any],
) -> None:
    kept = insert(connection, "Kept", "sharedword")
    connection.execute(
        "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description) SELECT 'Gone ' || i, 'Risk',"
        " 'Active', 50, 'sharedword goneword' || i FROM generate_series(1, 1000) i"
    )
    connection.execute("SELECT card_changes_fold()")
    # the newest cards hold the common words: what is still there must be found by the index
    connection.execute("UPDATE cards SET created_at = '2000-01-01' WHERE id = %s", [kept])
    assert _known(connection, "sharedword", "goneword7", "goneword993") == {"sharedword", "goneword7", "goneword993"}
    deleted = connection.execute("DELETE FROM cards WHERE description LIKE 'sharedword goneword%'").rowcount
    assert deleted == 1_000
    assert _known(connection, "sharedword", "goneword7", "goneword993") == {"sharedword"}
    assert connection.execute("SELECT count(*) FROM card_words_gone").fetchone() == (0,)


def test_a_word_of_a_card_that_is_not_committed_yet_is_known_after_it_was_forgotten(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    first = insert(connection, "First", "onlyword")
    connection.execute("SELECT card_changes_fold()")
    with psycopg.connect(database_url) as slow:
        insert(slow, "Second", "onlyword")
        connection.execute("DELETE FROM cards WHERE id = %s", [first])
        connection.execute("SELECT card_words_forget()")
        assert _known(connection, "onlyword") == set()
        slow.commit()
    connection.execute("SELECT card_changes_fold()")
    assert _known(connection, "onlyword") == {"onlyword"}


def test_a_load_without_triggers_is_noticed_and_mended(connection: psycopg.Connection[Any]) -> None:
    assert look(connection).holds
    _load_without_triggers(connection, "silentword", 40)
    upkeep = look(connection)
    assert upkeep.counted_wrong == 40
    assert upkeep.unknown == 40  # they are the newest
    assert "40 cards are counted wrong" in upkeep.in_words
    assert not mend(connection).holds
    assert look(connection).holds
    assert _known(connection, "silentword1", "silentword40") == {"silentword1", "silentword40"}
    counted, kept = kinds(connection)
    assert counted == kept


def test_what_is_mended_counts_a_change_that_is_not_folded_once_and_forgets_what_an_update_took_away(
    connection: psycopg.Connection[Any],
) -> None:
    card = insert(connection, "Changed", "formerword")
    connection.execute("SELECT card_changes_fold()")
    connection.execute("UPDATE cards SET description = 'laterword' WHERE id = %s", [card])
    insert(connection, "Unfolded", "unfoldedword")
    assert connection.execute("SELECT count(*) FROM card_changes").fetchone() != (0,)
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM cards WHERE name LIKE 'Loaded%'")
    assert look(connection).to_forget == 0
    connection.execute("DELETE FROM cards WHERE id = %s", [insert(connection, "Short", "shortlived")])
    assert look(connection).to_forget == 1
    mend(connection)
    assert look(connection).to_forget == 0
    assert _known(connection, "formerword", "laterword", "unfoldedword") == {"laterword", "unfoldedword"}
    for _ in range(2):
        counted, kept = kinds(connection)
        assert counted == kept
        connection.execute("SELECT card_changes_fold()")


def test_who_holds_a_lock_for_long_is_said_and_nothing_is_half_counted(
    database_url: str, connection: psycopg.Connection[Any]
) -> None:
    _load_without_triggers(connection, "heldword", 2)
    with psycopg.connect(database_url) as slow:
        insert(slow, "Slow", "slowword")
        with pytest.raises(DatabaseError, match="run it again after it"):
            mend(connection)
        assert look(connection).counted_wrong == 2
        slow.commit()
    connection.execute("SET default_transaction_isolation = 'repeatable read'")
    mend(connection)
    assert look(connection).holds


def test_a_truncated_table_leaves_no_word(make_database: Callable[[str], str]) -> None:
    url = make_database("search_upkeep_truncated")
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(LabError, match="--index-set v2"):
            look(connection)
        Migrations(url).up()
        connection.execute("TRUNCATE cards CASCADE")
        assert connection.execute("SELECT count(*) FROM card_vocabulary").fetchone() == (0,)
        assert look(connection).holds


def test_the_command_tells_what_is_missing_and_mends_it(database_url: str, connection: psycopg.Connection[Any]) -> None:
    _load_without_triggers(connection, f"w{uuid.uuid4().hex}", 3)

    def lab(*words: str) -> str:
        done = subprocess.run(
            [str(ROOT / "lab"), "migrate", *words, "--database-url", database_url],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout

    assert "3 cards are counted wrong, 3 of" in lab("status")
    assert "now: counts and words of index set v2 hold" in lab("mend")
    assert "counts and words of index set v2 hold" in lab("status")
