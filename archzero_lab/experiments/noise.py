"""What the machine did meanwhile that a reader must know: blocks in which others had the CPU."""

from __future__ import annotations

import pandas as pd

STEAL_LIMIT = 0.10
SLOW_YARDSTICK = 1.5


def noise_warnings(slots: pd.DataFrame) -> list[str]:
    """A sentence for each thing that disturbed some of the slots, with their blocks."""
    warnings = []
    late = slots[~slots["reset"].astype(bool)] if "reset" in slots else slots[:0]  # older runs ended there
    for blocks, what in (
        (slots[slots["steal"] > STEAL_LIMIT], f"the host gave more than {STEAL_LIMIT:.0%} of the CPU to others"),
        (
            slots[slots["yardstick_ms"] > SLOW_YARDSTICK * slots["yardstick_ms"].median()],
            f"the machine itself was more than {SLOW_YARDSTICK - 1:.0%} slower",
        ),
        (late, "the cache was not emptied before a slot, Redis was too slow,"),
    ):
        if not blocks.empty:
            warnings.append(
                f"{what} in blocks {', '.join(map(str, sorted({int(block) for block in blocks['block']})))}"
            )
    return warnings
