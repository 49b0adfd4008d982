"""A failover's time line: what was acknowledged, read and refused, and how long it took, half second by half second."""

from __future__ import annotations

import numpy as np
import pandas as pd

from archzero_lab.systems.failovers import Operations

BIN_S = 0.5


def line_of(done: Operations, began_ns: int, ended_ns: int) -> pd.DataFrame:
    """A row a half second: rates a second, the 99th percentile in ms; NaN where nothing was answered.

    Columns: t_s (the middle), writes, reads, refused_writes, refused_reads, write_p99_ms, read_p99_ms.
    """
    bins = max(1, int(np.ceil((ended_ns - began_ns) / 1e9 / BIN_S)))
    table = pd.DataFrame({"t_s": (np.arange(bins) + 0.5) * BIN_S})
    for what, answered in (
        ("write", [(one.began_ns, one.ended_ns) for one in done.writes if one.version]),
        ("read", [(one.began_ns, one.ended_ns) for one in done.reads]),
    ):
        times = np.asarray(answered, dtype=np.int64).reshape(-1, 2)
        place = ((times[:, 1] - began_ns) / 1e9 // BIN_S).astype(int)
        inside = (place >= 0) & (place < bins)
        took = pd.Series((times[inside, 1] - times[inside, 0]) / 1e6).groupby(place[inside])
        table[f"{what}s"] = took.size().reindex(table.index, fill_value=0) / BIN_S
        table[f"{what}_p99_ms"] = took.quantile(0.99).reindex(table.index)
        refused = [(ended - began_ns) / 1e9 // BIN_S for _, ended, which in done.failed if which == what]
        counts = pd.Series(refused, dtype=float).value_counts()
        table[f"refused_{what}s"] = counts.reindex(table.index.astype(float), fill_value=0).to_numpy() / BIN_S
    return table
