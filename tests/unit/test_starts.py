"""What two processes of the same code differ by is no regression, and what every start shows is one."""

from __future__ import annotations

import numpy as np

from archzero_lab.run_folders.gate import INCONCLUSIVE, MAX_REGRESSION, PASS, REGRESSION, judge_ratio
from archzero_lab.stats.comparison import Comparison, compare, over_starts

_RUNS, _STARTS, _BLOCKS = 400, 5, 5


def _measured(rng: np.random.Generator, slower: float, of_a_start: float, of_a_block: float) -> tuple[str, str]:
    """The gate's result without and with the starts, of logarithmic noise of a start and of a block."""
    starts = [np.log(slower) + rng.normal(0, of_a_start) + rng.normal(0, of_a_block, _BLOCKS) for _ in range(_STARTS)]
    ratios = np.exp(np.concatenate(starts))
    plain = compare(np.ones(ratios.size).tolist(), ratios.tolist())
    return _result(plain), _result(over_starts(plain, [start.tolist() for start in starts]))


def _result(found: Comparison) -> str:
    return judge_ratio("", 1, 1, found.effect_size, found.ci_low, found.ci_high, MAX_REGRESSION).result


def _shares(slower: float, of_a_start: float, of_a_block: float) -> tuple[dict[str, float], dict[str, float]]:
    rng = np.random.default_rng(7)
    results = [_measured(rng, slower, of_a_start, of_a_block) for _ in range(_RUNS)]
    return tuple(  # type: ignore[return-value]
        {word: sum(one[at] == word for one in results) / _RUNS for word in (PASS, REGRESSION, INCONCLUSIVE)}
        for at in (0, 1)
    )


def test_processes_that_differ_for_as_long_as_they_live_hardly_ever_turn_a_gate_red() -> None:
    plain, over = _shares(1.0, 0.3, 0.03)
    assert over[REGRESSION] < 0.01
    assert plain[REGRESSION] > 0.04  # an interval over blocks alone does


def test_a_quiet_machine_passes_the_same_code_and_finds_a_fifth() -> None:
    assert _shares(1.0, 0.01, 0.03)[1] == {PASS: 1.0, REGRESSION: 0.0, INCONCLUSIVE: 0.0}
    assert _shares(1.25, 0.02, 0.03)[1][REGRESSION] > 0.95


def test_a_missing_index_is_found_however_busy_the_machine() -> None:
    assert _shares(3.0, 0.2, 0.2)[1][REGRESSION] > 0.99


def test_an_interval_holds_what_each_start_came_to() -> None:
    starts = [[0.1, 0.11, 0.09], [0.3, 0.31, 0.29], [-0.05, -0.04, -0.06]]
    plain = compare([1.0] * 9, np.exp(np.concatenate(starts)).tolist())
    found = over_starts(plain, starts)
    assert (found.ci_low, found.ci_high) == (min(plain.ci_low, np.exp(-0.05)), max(plain.ci_high, np.exp(0.3)))
    assert found.effect_size == plain.effect_size
