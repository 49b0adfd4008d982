"""What was written: records of the write-ahead log by kind, with their bytes, read by pg_walinspect."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import psycopg

from archzero_lab.postgres.connection import Connection

_OF_ROWS = ("Heap", "Heap2", "Btree", "Hash", "Gin", "Gist", "SPGist", "BRIN", "Sequence")
"""Resource managers of rows and their indexes; checkpoints, snapshots and files of the server's own are not work."""
_AT_LEISURE = ("PRUNE", "VISIBLE", "CLEAN", "VACUUM", "FREEZE", "DEDUP", "UNLINK", "MARK_PAGE", "NEW_CID", "UPPER")
"""What a page is tidied up with when somebody happens to pass by, and what follows from a page that splits."""
_ENTRIES = ("INSERT_LEAF", "INSERT_POST", "SPLIT")
BTREE_ENTRY = "Btree/entry"


@dataclass(frozen=True)
class WalWork:
    """Records by kind ("Heap/INSERT"), and their bytes without images of whole pages.

    An entry of a B-tree is one, whether its page was split for it or not, and its bytes are left out: which page splits
    is chance where keys are random.
    """

    records: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


class Wal:
    """The write-ahead log of a server of ours, read from where it was looked at last."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        self._at = self.end()

    def skip(self, end: str) -> None:
        """Go on from there."""
        self._at = end

    def read(self, end: str, without: Collection[int] = ()) -> WalWork:
        """What was written since it was looked at last and up to `end`, `without` that of some transactions."""
        if end == self._at:
            return WalWork()
        try:
            rows = self._connection.execute(
                "SELECT resource_manager, record_type, count(*), sum(record_length - fpi_length)"
                " FROM pg_get_wal_records_info(%s::pg_lsn, %s::pg_lsn)"
                " WHERE resource_manager = ANY(%s) AND NOT xid::text::bigint = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2",
                [self._at, end, list(_OF_ROWS), list(without)],
            ).fetchall()
        except (psycopg.errors.InvalidParameterValue, psycopg.errors.InternalError_) as error:
            if "valid record" not in str(error):
                raise
            return WalWork()  # not a whole record between the two, a page's header alone: read with what follows
        self._at = end
        records: dict[str, int] = {}
        total = 0
        for manager, what, number, size in rows:
            if any(word in what for word in _AT_LEISURE) or (manager == "Btree" and what == "DELETE"):
                continue
            kind = f"{manager}/{what.removesuffix('+INIT')}"
            if manager == "Btree" and any(word in what for word in _ENTRIES):
                kind = BTREE_ENTRY
            else:
                total += int(size)
            records[kind] = records.get(kind, 0) + int(number)
        return WalWork(records, total)

    def end(self) -> str:
        """Up to where it is on disk now."""
        row = self._connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        return str(row[0])
