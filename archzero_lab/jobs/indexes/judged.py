"""Which indexes a migration is judged by: those that it makes, or those that it drops where it does nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.foreign_copy import apply_file, stop_autovacuum
from archzero_lab.postgres.index_catalog import Index, list_indexes
from archzero_lab.postgres.sql_text import dropped_index_names, read_file


@dataclass(frozen=True)
class Judged:
    """The indexes (oids) of a copy, in words what they are, and what to note.

    Schema and name of each: `made` are new, `dropped` the source has and the migration drops.
    """

    indexes: frozenset[int]
    about: str
    notes: tuple[str, ...] = ()
    dropped: frozenset[tuple[str, str]] = frozenset()
    made: frozenset[tuple[str, str]] = frozenset()


def judged_of(url: str, migration: Path, before: Sequence[Index]) -> Judged:
    """Apply a migration to a copy and tell which indexes are new; one that only drops some is not applied.

    Those are judged where they are: what is lost without them. Known by what they are (oid; schema, name, definition),
    not by name. Raises DatabaseError where the migration fails, and where it touches no index.
    """
    statements = read_file(migration)
    dropped = [dropped_index_names(one.node) for one in statements if not one.begins_or_ends]
    if dropped and all(dropped):
        lost = _lost(url, [name for names in dropped for name in names])
        places = {(index.schema, index.name) for index in lost}
        places |= {(part.schema, part.name) for index in lost for part in index.parts}
        return Judged(
            frozenset(index.oid for index in lost), f"what {migration.name} drops,", dropped=frozenset(places)
        )
    apply_file(url, migration)
    with connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        stop_autovacuum(connection)  # of the tables that the migration has made
    after = list_of(url)
    there = {index.oid for index in before} | {_itself(index) for index in before}
    new = [index for index in after if index.oid not in there and _itself(index) not in there]
    still = {index.oid for index in after} | {_itself(index) for index in after}
    gone = [index.label for index in before if index.oid not in still and _itself(index) not in still]
    notes = (
        (f"the migration drops {', '.join(gone)}: what that loses is judged by a migration that does nothing else",)
        if gone else ()
    )  # fmt: skip
    made = frozenset((index.schema, index.name) for index in new)
    return Judged(frozenset(index.oid for index in new), migration.name, notes, made=made)


def list_of(url: str) -> list[Index]:
    """A database's indexes."""
    with raw_connection(url) as connection:
        return list_indexes(connection)


def _itself(index: Index) -> tuple[str, str, str]:
    return index.schema, index.name, index.definition


def _lost(url: str, names: Sequence[str]) -> list[Index]:
    with connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT to_regclass(name)::oid::bigint FROM unnest(%s::text[]) name", [list(names)])
        oids = {oid for (oid,) in rows.fetchall()}
    lost = [index for index in list_of(url) if index.oid in oids]
    if not lost:
        raise DatabaseError(f"the migration drops {', '.join(names)}: no such index there")
    return lost
