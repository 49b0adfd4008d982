"""How much room is left where servers keep their data, said before there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

_LEAST_BYTES = 2 * 2**30
_LEAST_SHARE = 0.05
_WAL_SHARE = 0.125
"""Of the room there is: a cluster's WAL may take so much of it, and is what fills a disk unasked."""
_MOST_WAL_MB, _LEAST_WAL_MB = 8_192, 128


def low_room(place: Path) -> str:
    """A sentence where little is left on the file system of a folder; "" where there is enough."""
    usage = shutil.disk_usage(place)
    if usage.free >= min(_LEAST_BYTES, usage.total * _LEAST_SHARE):
        return ""
    return (
        f"{usage.free / 2**20:,.0f} MB of {usage.total / 2**30:,.0f} GB are left on the disk of {place}: PostgreSQL"
        " stops when it is full; free some, or end what fills it"
    )


def wal_size_mb(place: Path) -> int:
    """The max_wal_size of a cluster in a folder: 8 GB, or an eighth of the room where that is less."""
    room_mb = shutil.disk_usage(place).free // 2**20
    return max(_LEAST_WAL_MB, min(_MOST_WAL_MB, int(room_mb * _WAL_SHARE)))
