"""What the load of a report came to: requests and slots of each arm, as the analyses of claims take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class LoadResult:
    """What the load measured. `requests`: block, arm, name, response_ms, ok. `slots`: a row a measured slot.

    `described` says in a phrase what mix it was and what could not be answered.
    """

    requests: pd.DataFrame
    slots: pd.DataFrame
    described: str

    def treatment(self, arm: str) -> pd.DataFrame:
        """The measured slots of one arm, in order of blocks."""
        return self.slots[self.slots["arm"] == arm].sort_values("block")

    def as_measured(self, claim_id: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Samples and slots as Measurements has them, with `ok` beside."""
        samples = self.requests.assign(claim=claim_id, service_time_s=self.requests["response_ms"] / 1000)
        sizes = self.requests.groupby(["block", "arm"]).size().rename("requests").reset_index()
        slots = self.slots.merge(sizes, on=["block", "arm"]).assign(
            claim=claim_id, blocks=np.nan, steal=0.0, yardstick_ms=np.nan
        )
        for counted in ("statements", "database_s"):
            if counted not in slots:
                slots[counted] = np.nan  # an older run did not ask
        return samples, slots
