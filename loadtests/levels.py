"""How a load goes over time: a level from 0 to a few times the rate (or users) asked for."""

from __future__ import annotations

from collections.abc import Callable

SPIKE = 4.0
_STEPS = 5


def constant(share: float) -> float:
    """The same all the time."""
    return 1.0


def ramp(share: float) -> float:
    """From nothing to all of it, evenly."""
    return share


def steps(share: float) -> float:
    """A fifth, two fifths, … all of it, as long each."""
    return (min(int(share * _STEPS), _STEPS - 1) + 1) / _STEPS


def spike(share: float) -> float:
    """SPIKE times as much for the middle tenth."""
    return SPIKE if 0.45 <= share < 0.55 else 1.0


LEVELS: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "ramp": ramp,
    "steps": steps,
    "spike": spike,
    "soak": constant,  # the same for an hour: what grows, leaks or fills up
}
"""Level by the share of the run that is over."""
