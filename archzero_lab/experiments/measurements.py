"""What was measured: a row a request, a row a slot; kept as Parquet, read back the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from archzero_lab.experiments.spec import Counters


@dataclass(frozen=True)
class Sample:
    """One timed request."""

    claim: str
    block: int
    order: int
    arm: str
    variant: str
    service_time_s: float
    bytes: int


@dataclass(frozen=True)
class SlotRecord:
    """One slot: counters over its timed requests, and what the machine was doing meanwhile.

    `load_1m` is the load average before; `steal` the share of CPU time taken by others of the host; `yardstick_ms` what
    the same little work took just before and after, by which runs are told from machines.
    """

    claim: str
    block: int
    order: int
    arm: str
    requests: int
    seconds: float
    counters: Counters
    load_1m: float
    steal: float
    yardstick_ms: float


@dataclass
class Measurements:
    """All samples and slots of a run so far."""

    samples: list[Sample] = field(default_factory=list)
    slots: list[SlotRecord] = field(default_factory=list)

    def samples_frame(self) -> pd.DataFrame:
        """A row a request: claim, block, order, arm, variant, service_time_s, bytes."""
        return pd.DataFrame([vars(sample) for sample in self.samples])

    def slots_frame(self) -> pd.DataFrame:
        """A row a slot, the counters as columns of their own."""
        rows = []
        for slot in self.slots:
            row = asdict(slot)
            row |= row.pop("counters")
            rows.append(row)
        return pd.DataFrame(rows)

    def save(self, folder: Path) -> None:
        """Write samples.parquet and slots.parquet."""
        self.samples_frame().to_parquet(folder / "samples.parquet", index=False)
        self.slots_frame().to_parquet(folder / "slots.parquet", index=False)
