"""Index set v2's counts and words held against the cards: what a load without triggers left out, and its mending."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from archzero_lab.errors import DatabaseError, LabError
from archzero_lab.postgres.connection import Connection

_LOOKED_AT = 500
_KINDS_OFF = (
    "SELECT coalesce(sum(abs(coalesce(c.n, 0) - coalesce(k.n, 0))), 0)::bigint"
    " FROM (SELECT type, lifecycle_phase, status, count(*) AS n FROM cards GROUP BY 1, 2, 3) c"
    " FULL JOIN (SELECT type, lifecycle_phase, status, sum(n) AS n"
    " FROM (SELECT type, lifecycle_phase, status, cards AS n FROM card_counts UNION ALL"
    " SELECT type, lifecycle_phase, status, added FROM card_changes) k GROUP BY 1, 2, 3) k"
    " USING (type, lifecycle_phase, status)"
)
_UNKNOWN = (
    "SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(card_words(c.name, c.description)) w"
    " WHERE NOT EXISTS (SELECT FROM card_vocabulary v WHERE v.word = w)) AND NOT EXISTS"
    " (SELECT FROM card_changes k WHERE k.card_id = c.id)) FROM ("
    "(SELECT id, name, description FROM cards ORDER BY created_at DESC, id DESC LIMIT %(most)s) UNION"
    " (SELECT id, name, description FROM cards TABLESAMPLE SYSTEM (%(percent)s))) c"
)


@dataclass(frozen=True)
class Upkeep:
    """How far what index set v2 keeps beside the cards is from them."""

    counted_wrong: int
    """Cards that `card_counts` has too many or too few of, over all kinds."""
    looked_at: int
    unknown: int
    """Of the cards looked at, those with a word that the vocabulary has not: a search for it misses them."""
    to_forget: int = 0
    """Deleted cards whose words are still to be looked at; this does no harm but for the room they take."""

    @property
    def holds(self) -> bool:
        """Whether nothing is missing."""
        return self.counted_wrong == 0 and self.unknown == 0

    @property
    def in_words(self) -> str:
        """What is missing."""
        words = f"the words of {self.to_forget:,} deleted cards are still to be forgotten" if self.to_forget else ""
        if self.holds:
            looked_at = f"counts and words of index set v2 hold (the words of {self.looked_at:,} cards were looked at)"
            return "; ".join(filter(None, (looked_at, words)))
        wrong = (
            f"{self.counted_wrong:,} cards are counted wrong, {self.unknown:,} of {self.looked_at:,} looked at have"
            " words that a search does not know, as after a load without triggers"
        )
        return "; ".join(filter(None, (wrong, words)))


def has_search(connection: Connection, table: str = "card_vocabulary") -> bool:
    """Whether index set v2 keeps words and counts in this database."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
    return bool(row and row[0])


def look(connection: Connection) -> Upkeep:
    """Hold counts and words against the cards; reads every card's kind and the words of at most a thousand."""
    if not has_search(connection):
        raise LabError("index set v2 is not in this database: ./lab migrate up --index-set v2")
    off = connection.execute(_KINDS_OFF).fetchone()
    rows = connection.execute("SELECT greatest(reltuples, 1) FROM pg_class WHERE oid = 'cards'::regclass").fetchone()
    percent = min(100.0, 100.0 * 2 * _LOOKED_AT / float(rows[0] if rows else 1))
    known = connection.execute(_UNKNOWN, {"most": _LOOKED_AT, "percent": percent}).fetchone()
    gone = None
    if has_search(connection, "card_words_gone"):
        gone = connection.execute("SELECT count(*) FROM card_words_gone").fetchone()
    looked_at, unknown = known or (0, 0)
    return Upkeep(int(off[0]) if off else 0, looked_at, unknown, int(gone[0]) if gone else 0)


def mend(connection: Connection) -> Upkeep:
    """Learn every word that cards have, forget what none has, count anew; what was wrong before.

    Writers go on while words are learnt: the fold's lock is held, so theirs wait in card_changes. They are kept out
    only while cards are counted. The connection must not be in a transaction. Raises DatabaseError where somebody holds
    a lock for more than five seconds; what was learnt until then stays.
    """
    before = look(connection)
    connection.commit()
    try:
        _learn(connection)
        _count(connection)
    except psycopg.errors.LockNotAvailable:
        raise DatabaseError(
            "a transaction that writes cards goes on for more than 5 s: not everything is mended; run it again after it"
        ) from None
    return before


def _begin(connection: Connection) -> None:
    """A snapshot of each statement's own, whatever the database's default: it must be younger than the locks."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SET LOCAL lock_timeout = '5s'")
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('card_changes_fold'))")


def _learn(connection: Connection) -> None:
    with connection.transaction():
        _begin(connection)
        if has_search(connection, "card_words_gone"):
            connection.execute("DELETE FROM card_words_gone")
        connection.execute(
            "CREATE TEMPORARY TABLE words_there ON COMMIT DROP AS"
            " SELECT DISTINCT unnest(card_words(name, description)) AS word FROM cards"
        )
        connection.execute("ANALYZE words_there")
        connection.execute(
            "DELETE FROM card_vocabulary v WHERE NOT EXISTS (SELECT FROM words_there w WHERE w.word = v.word)"
        )
        connection.execute(
            "INSERT INTO card_vocabulary SELECT w.word FROM words_there w"
            " WHERE NOT EXISTS (SELECT FROM card_vocabulary v WHERE v.word = w.word)"
        )


def _count(connection: Connection) -> None:
    with connection.transaction():
        _begin(connection)
        connection.execute("LOCK TABLE cards IN SHARE MODE")
        connection.execute("DELETE FROM card_counts")
        connection.execute(  # less what is still to be folded, which is added then
            "INSERT INTO card_counts SELECT type, lifecycle_phase, status, sum(n) FROM (SELECT type, lifecycle_phase,"
            " status, 1 AS n FROM cards UNION ALL SELECT type, lifecycle_phase, status, -added FROM card_changes) c"
            " GROUP BY 1, 2, 3 HAVING sum(n) <> 0"
        )
