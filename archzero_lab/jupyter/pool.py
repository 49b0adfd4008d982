"""Pool size against offered load in a notebook: the knee, and phase 5's setting and claims beside what is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError
from archzero_lab.jobs.studies.pool_sweep import knee_in_words, knees, pool_table, sweep_pool
from archzero_lab.jupyter.run import Words
from archzero_lab.reporting.figures import Picture
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.pool_figures import pool_curves
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import PoolSettings, load_settings

_CLAIMED = {"mean_ms": 45.0, "p95_ms": 120.0, "postgres_share": 0.35, "refused_per_min": 0.0}
"""What phase 5 says of its pool, after: 45 ms on average, p95 120 ms, 35 % CPU, no time-out, at 500 concurrent."""


@dataclass(frozen=True)
class PoolSweep:
    """What each size of the pool gave each number of users. `cells`: a row a PoolCell. `of_phase5`: of its service."""

    cells: Frame
    of_phase5: bool = True

    def table(self) -> Frame:
        """Medians over the rounds, a row a number of users and a size; waits and holds in ms, where they are told."""
        return Frame(pool_table(self.cells))

    def knees(self) -> Frame:
        """The smallest pool that is near the best, by number of users."""
        return Frame(knees(self.cells))

    def figure(self) -> Picture:
        """Throughput, p95 and wait against the pool's size."""
        return pool_curves(self.cells, self.knees())

    def said(self) -> Words:
        """Where the knee is under the most users, beside the formula and phase 5's setting."""
        set_by_it = f"; phase 5 sets {PoolSettings().max_size}" if self.of_phase5 else ""
        return Words("The knee", knee_in_words(self.knees()) + set_by_it)

    def against_claims(self) -> Frame:
        """Phase 5's figures for its pool beside those of the size nearest to its setting, by number of users.

        Raises LabError for another service's pool.
        """
        if not self.of_phase5:
            raise LabError("phase 5's claims are about the card service's pool; table() and knees() are of any")
        sizes = self.cells["size"].unique()
        size = min(sizes, key=lambda one: abs(one - PoolSettings().max_size))
        mine = self.cells[self.cells["size"] == size].groupby("users").median()
        seen = Frame(
            {
                "mean_ms": mine["mean_ms"],
                "p95_ms": mine["p95_ms"],
                "postgres_share": mine["postgres_cores"] / (os.cpu_count() or 1),
                "refused_per_min": mine["refused_per_min"],
            }
        )
        seen.loc["phase 5, after"] = pd.Series(_CLAIMED)
        return seen.map(lambda value: float(f"{value:.3g}"))


def pool(
    sizes: Sequence[int] = (1, 2, 5, 15, 50), users: Sequence[int] = (1, 8, 50, 500), *, arm: str = "",
    cards: int = 20_000, seconds: float = 2.0, rounds: int = 3,
) -> PoolSweep:  # fmt: skip
    """Try each size of the pool under each number of users who do not pause; about four minutes as it stands.

    Of the card service without a cache, or of the service that archzero.toml names. Raises LabError.

    lab.pool(sizes=(2, 5, 15), users=(8, 50), rounds=1).figure()
    """
    system = system_here()
    system.require_ready()
    with exclusive("pool"), running_stack(load_settings()) as stack:
        cells = sweep_pool(system, stack, sizes, users, arm=arm, rows=cards, seconds=seconds, rounds=rounds)
    return PoolSweep(Frame(cells), of_phase5=system.has_notebooks)
