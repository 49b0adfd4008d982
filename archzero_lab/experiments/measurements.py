"""What was measured: a row a request, a row a slot; kept as Parquet, read back the same."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pandas as pd

from archzero_lab.postgres.statement_work import StatementWork
from archzero_lab.systems.arms import Counters

OWN = "own_"
"""Before the names of counters that a system names itself, in the columns of the slots."""


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
    the same little work took just before and after, by which runs are told from machines. `reset` says that the cache
    was empty at its beginning.
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
    reset: bool = True


@dataclass
class Measurements:
    """All samples and slots of a run so far; `controls` are the samples of negative controls, by the claim's slots."""

    samples: list[Sample] = field(default_factory=list)
    slots: list[SlotRecord] = field(default_factory=list)
    controls: list[Sample] = field(default_factory=list)

    def samples_frame(self) -> pd.DataFrame:
        """A row a request: claim, block, order, arm, variant, service_time_s, bytes."""
        return pd.DataFrame([vars(sample) for sample in self.samples])

    def controls_frame(self) -> pd.DataFrame:
        """As samples_frame."""
        return pd.DataFrame([vars(sample) for sample in self.controls], columns=[part.name for part in fields(Sample)])

    def slots_frame(self) -> pd.DataFrame:
        """A row a slot, the counters as columns of their own."""
        rows = []
        for slot in self.slots:
            row = asdict(slot)
            counted = row.pop("counters")
            own = counted.pop("own")
            del counted["by_statement"]  # a frame of their own: statements_frame
            row |= counted | {f"{OWN}{name}": value for name, value in own.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def statements_frame(self) -> pd.DataFrame:
        """A row a slot and statement: claim, block, arm, statement, calls, rows, blocks, temporary."""
        rows = [
            {"claim": slot.claim, "block": slot.block, "arm": slot.arm, "statement": text, **asdict(work)}
            for slot in self.slots for text, work in slot.counters.by_statement.items()
        ]  # fmt: skip
        columns = ["claim", "block", "arm", "statement", *(part.name for part in fields(StatementWork))]
        return pd.DataFrame(rows, columns=columns)

    def block_ms(self, claim: str, block: int) -> dict[str, float]:
        """The median service time of each arm in one block, in ms; for looking at while it is measured."""
        times: dict[str, list[float]] = {}
        for sample in reversed(self.samples):
            if (sample.claim, sample.block) != (claim, block):
                break
            times.setdefault(sample.arm, []).append(sample.service_time_s)
        return {arm: statistics.median(values) * 1000 for arm, values in times.items()}

    @classmethod
    def of_frames(
        cls,
        samples: pd.DataFrame,
        slots: pd.DataFrame,
        controls: pd.DataFrame,
        statements: pd.DataFrame,
        claims: Collection[str],
    ) -> Measurements:
        """What frames hold of some claims: a run that was interrupted goes on."""
        counted = [part.name for part in fields(Counters) if part.name in slots]
        work: dict[tuple[str, int, str], dict[str, StatementWork]] = {}
        for row in _rows(statements, claims):
            slot = work.setdefault((row.pop("claim"), row.pop("block"), row.pop("arm")), {})
            text = row.pop("statement")
            slot[text] = StatementWork(**row)
        measured = cls([Sample(**row) for row in _rows(samples, claims)])
        measured.controls = [Sample(**row) for row in _rows(controls, claims)]
        for row in _rows(slots, claims):
            own = {name.removeprefix(OWN): row.pop(name) for name in list(row) if name.startswith(OWN)}
            by_statement = work.get((row["claim"], row["block"], row["arm"]), {})
            counters = Counters(**{name: row.pop(name) for name in counted}, own=own, by_statement=by_statement)
            measured.slots.append(SlotRecord(**row, counters=counters))
        return measured


def _rows(frame: pd.DataFrame, claims: Collection[str]) -> list[dict[str, Any]]:
    """Rows of some claims as Python's own values, what is missing as None."""
    mine = frame[frame["claim"].isin(list(claims))]
    return [
        {str(name): None if value is None or value != value else value for name, value in row.items()}
        for row in mine.astype(object).to_dict("records")
    ]
