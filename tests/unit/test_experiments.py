"""Analysis of claims on made-up measurements whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import SettingsError
from archzero_lab.experiments.claim_files import load_claims, read_claims
from archzero_lab.experiments.claim_result import adjust
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.gains import analyze_gain, claim_course, mechanism_of_gain
from archzero_lab.experiments.measurements import Measurements, Sample, SlotRecord
from archzero_lab.experiments.noise import noise_warnings
from archzero_lab.experiments.ranges import analyze_range
from archzero_lab.experiments.runner import run_claim
from archzero_lab.experiments.schedule import schedule
from archzero_lab.postgres.statement_work import StatementWork
from archzero_lab.run_folders.run import Run
from archzero_lab.stats.verdict import Verdict
from archzero_lab.systems.arczero.arms import ServiceArm
from archzero_lab.systems.arczero.profiles import PROFILES
from archzero_lab.systems.arms import Counters, NotReset
from archzero_lab.systems.operations import Operation, SlotOperations
from archzero_lab.systems.profiles import SlotSize

SYSTEM = system_here()


def _claim(name: str) -> Claim:
    return next(claim for claim in load_claims(SYSTEM) if claim.id == name)


def _measured(
    claim: Claim,
    effect: float,
    *,
    hits: bool = True,
    blocks: int = 12,
    requests: int = 40,
    steal: float = 0.0,
    beside: float | None = None,
) -> Measurements:
    rng = np.random.default_rng(3)
    found = Measurements()
    effects = {claim.control: 1.0, claim.treatment: effect, claim.beside: beside}
    for slot in schedule([arm for arm in claim.arms if effects[arm] is not None], blocks, 1):
        treated = slot.arm == claim.treatment
        scale = 0.02 * (effects[slot.arm] or 0.0) * np.exp(rng.normal(0, 0.02))
        for value in scale * np.exp(rng.normal(0, 0.1, requests)):
            found.samples.append(Sample(claim.id, slot.block, slot.order, slot.arm, "v", float(value), 700))
        moved = Counters(
            requests if treated and hits else 0, 0, 0 if treated else requests, 0.1, 10 if treated else 999,
            by_statement={"SELECT 1": StatementWork(requests, requests, 999, 0)},
        )  # fmt: skip
        found.slots.append(
            SlotRecord(claim.id, slot.block, slot.order, slot.arm, requests, 1.0, moved, 0.5, steal, 0.1)
        )
    return found


def _analyzed(claim: Claim, measured: Measurements) -> object:
    return analyze_gain(claim, measured.samples_frame(), measured.slots_frame())


def test_work_is_counted_where_the_run_has_it_and_left_out_where_it_is_older() -> None:
    claim = _claim("card_list_cached")
    slots = _measured(claim, 0.01).slots_frame()
    slots["rows"] = [0 if arm == claim.treatment else 2_000 for arm in slots["arm"]]
    told, moved = mechanism_of_gain(claim, slots)
    assert moved
    assert told[claim.control]["rows_per_1000"] == 50_000
    assert told[claim.treatment]["rows_per_1000"] == 0
    assert told[claim.control]["wal_bytes_per_1000"] is None, "not counted by this server"
    older, _ = mechanism_of_gain(claim, slots.drop(columns=["rows", "temporary_blocks", "wal_bytes"]))
    assert "rows_per_1000" not in older[claim.control]


def test_a_gain_beyond_the_claim_is_confirmed_and_one_short_of_it_refuted() -> None:
    claim = _claim("card_list_cached")
    far, short = _analyzed(claim, _measured(claim, 0.01)), _analyzed(claim, _measured(claim, 0.05))
    assert far.verdict is Verdict.CONFIRMED  # type: ignore[attr-defined]
    assert short.verdict is Verdict.REFUTED  # type: ignore[attr-defined]
    assert short.improvement == pytest.approx(0.95, abs=0.005)  # type: ignore[attr-defined]
    assert "short by 2.5 points" in short.note  # type: ignore[attr-defined]


def test_a_gain_without_its_mechanism_is_not_confirmed() -> None:
    claim = _claim("card_list_cached")
    result = _analyzed(claim, _measured(claim, 0.01, hits=False))
    assert result.verdict is Verdict.INCONCLUSIVE  # type: ignore[attr-defined]
    assert "without its mechanism" in result.warnings[-1]  # type: ignore[attr-defined]


def test_a_claim_that_names_no_mechanism_is_judged_by_time_alone_and_says_so() -> None:
    claim = replace(_claim("card_list_cached"), mechanism="none")
    far, short = (_analyzed(claim, _measured(claim, ratio, hits=False)) for ratio in (0.01, 0.05))
    assert (far.verdict, short.verdict) == (Verdict.CONFIRMED, Verdict.REFUTED)  # type: ignore[attr-defined]
    assert far.mechanism["moved"] is None  # type: ignore[attr-defined]
    assert "by time alone: its file names no mechanism" in far.warnings  # type: ignore[attr-defined]


def test_five_blocks_and_nine_requests_a_slot_decide_nothing() -> None:
    claim = _claim("search_gin")
    few_blocks = _analyzed(claim, _measured(claim, 0.01, blocks=5))
    few_requests = _analyzed(claim, _measured(claim, 0.01, requests=9))
    assert few_blocks.verdict is few_requests.verdict is Verdict.INCONCLUSIVE  # type: ignore[attr-defined]
    assert "p50 needs 10 requests a slot, had 9" in few_requests.warnings  # type: ignore[attr-defined]
    assert few_blocks.as_dict()["measured"]["ci_low"] is None  # type: ignore[attr-defined]


def test_blocks_under_a_thieving_host_are_named() -> None:
    claim = _claim("search_gin")
    result = _analyzed(claim, _measured(claim, 0.01, blocks=6, steal=0.5))
    assert any("blocks 0, 1, 2, 3, 4, 5" in warning for warning in result.warnings)  # type: ignore[attr-defined]


class StuckArm:
    """Answers, and cannot be emptied."""

    def __init__(self, name: str) -> None:
        self.name = name

    def reset(self) -> None:
        raise NotReset("Redis was too slow")

    def ask(self, operation: Operation) -> tuple[float, int]:
        return 0.001, 9

    def counters(self) -> Counters:
        return Counters(0, 0, 0, 0.0, 0)


def test_a_cache_that_is_not_emptied_in_time_ends_nothing_and_is_told_with_its_blocks() -> None:
    claim = _claim("search_gin")
    arms: Any = {name: StuckArm(name) for name in claim.arms}
    asked = SlotOperations([Operation("/x", "x")], [Operation("/x", "x")] * 10, (Operation("/y", "y"),) * 10)
    found = Measurements()
    run_claim(claim, arms, lambda *_, **__: asked, SlotSize(1, 10), 2, 1, found, controls=True)
    assert [slot.reset for slot in found.slots] == [False] * len(claim.arms) * 2
    assert noise_warnings(found.slots_frame()) == [
        "the cache was not emptied before a slot, Redis was too slow, in blocks 0, 1"
    ]
    assert len(found.controls) == len(found.samples) == 20 * len(claim.arms)
    assert {sample.variant for sample in found.controls} == {"y"}


def test_a_flush_that_is_owed_for_a_moment_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"status": "owed"}, {"status": "owed"}, {"status": "flushed"}, *[{"status": "owed"}] * 9]
    arm = object.__new__(ServiceArm)
    arm.name, arm._cached = "treatment", True
    monkeypatch.setattr(arm, "_call", lambda *_: answers.pop(0), raising=False)
    arm.reset()
    with pytest.raises(NotReset, match="treatment was not emptied"):
        arm.reset()


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.85, 0.86, 0.84, 0.87, 0.85, 0.86], Verdict.CONFIRMED),
        ([0.95] * 6, Verdict.CONFIRMED),
        ([0.5, 0.52, 0.49, 0.51, 0.5, 0.53], Verdict.REFUTED),
        ([0.78, 0.82, 0.79, 0.81, 0.8, 0.83], Verdict.INCONCLUSIVE),
        ([0.85, 0.86, 0.84], Verdict.INCONCLUSIVE),
        ([0.85], Verdict.INCONCLUSIVE),
        ([0.85, 0.85], Verdict.INCONCLUSIVE),
    ],
)
def test_a_hit_rate_is_judged_by_its_interval(values: list[float], verdict: Verdict) -> None:
    result = analyze_range(_claim("cache_hit_rate"), values, samples=9, mechanism={}, moved=True)
    assert result.verdict is verdict


def test_a_counted_size_has_no_width_and_is_judged_by_its_ceiling() -> None:
    claim = _claim("index_overhead")
    small = analyze_range(claim, [12.0], samples=1, mechanism={}, moved=True, counted=True)
    large = analyze_range(claim, [584.0], samples=1, mechanism={}, moved=True, counted=True)
    assert (small.verdict, large.verdict) == (Verdict.CONFIRMED, Verdict.REFUTED)
    assert small.after_low == small.after_high == 12.0
    assert large.target_met is False


def test_a_value_that_still_moves_is_said_to() -> None:
    result = analyze_range(_claim("redis_memory"), [1, 2, 3, 4, 5, 6], samples=1, mechanism={}, moved=True)
    assert any("still moved" in warning for warning in result.warnings)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
def test_every_profile_can_decide(profile: object) -> None:
    assert profile.blocks >= 12  # type: ignore[attr-defined]
    assert profile.load_blocks >= 6  # type: ignore[attr-defined]
    for kind in ("list", "detail", "search", "filter"):
        assert profile.slot(kind).requests >= 10  # type: ignore[attr-defined]


def test_measurements_come_back_from_parquet_the_same(tmp_path: Path) -> None:
    measured = _measured(_claim("search_gin"), 0.5, blocks=2, requests=3)
    Run(tmp_path).keep_measurements(measured)
    kept = Run(tmp_path)
    pd.testing.assert_frame_equal(kept.samples, measured.samples_frame())
    assert set(kept.slots.columns) >= {"hits", "blocks", "steal", "load_1m"}
    again = kept.measurements(["search_gin"])
    pd.testing.assert_frame_equal(again.slots_frame(), measured.slots_frame())
    assert len(measured.statements_frame()) == 4, "two blocks, two arms, one statement"
    pd.testing.assert_frame_equal(again.statements_frame(), measured.statements_frame())
    assert kept.measurements(["another"]).samples == []


def test_a_verdict_must_outlive_the_other_claims_of_its_report() -> None:
    claim = _claim("cache_hit_rate")
    # six blocks: p = 2 / 64 alone, which is no longer 5 % beside a second one
    six = [
        analyze_range(claim, [0.3, 0.31, 0.32, 0.33, 0.34, 0.35], samples=6, mechanism={}, moved=True) for _ in range(2)
    ]
    assert six[0].verdict is Verdict.REFUTED
    alone = adjust(six[:1])
    assert (alone[0].verdict, alone[0].p_adjusted) == (Verdict.REFUTED, pytest.approx(2 / 64))
    together = adjust(six)
    assert [result.verdict for result in together] == [Verdict.INCONCLUSIVE] * 2
    assert "not beside 1 other (Holm: p = 0.062)" in together[0].warnings[-1]


def test_an_inconclusive_claim_names_how_many_blocks_it_would_take() -> None:
    claim = _claim("card_list_cached")
    result = analyze_gain(claim, *_frames(claim, effect=0.0252))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "too close to call" in result.warnings[-1]


def test_a_mechanism_without_a_gain_is_said_and_not_confirmed() -> None:
    claim = _claim("card_list_cached")
    result = analyze_gain(claim, *_frames(claim, effect=1.2))
    assert result.verdict is Verdict.REFUTED
    assert any("the mechanism without the gain: hits moved" in warning for warning in result.warnings)


def test_until_decided_the_interval_is_the_one_that_allows_peeking() -> None:
    claim = _claim("card_list_cached")
    frames = _frames(claim, effect=0.0252)
    once = analyze_gain(claim, *frames)
    peeked = analyze_gain(claim, *frames, until_decided=True)
    assert peeked.course is not None
    assert len(peeked.course.e) == 12
    assert peeked.ci_high - peeked.ci_low > once.ci_high - once.ci_low
    assert claim_course(claim, *frames).decided_at is None
    clear = _frames(claim, effect=0.5)
    assert claim_course(claim, *clear).decided_at == 6
    assert analyze_gain(claim, *clear, until_decided=True).verdict is Verdict.REFUTED


def test_blocks_in_which_the_machine_itself_was_slow_are_named() -> None:
    claim = _claim("card_list_cached")
    samples, slots = _frames(claim, effect=0.01)
    slots.loc[slots["block"] == 3, "yardstick_ms"] = 0.2
    assert "the machine itself was more than 50% slower in blocks 3" in analyze_gain(claim, samples, slots).warnings


def _frames(claim: Claim, effect: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = _measured(claim, effect)
    return measured.samples_frame(), measured.slots_frame()


def test_a_third_arm_is_told_beside_the_verdict_and_has_no_part_in_it() -> None:
    claim = _claim("search_gin")
    assert claim.arms == ("control", "indexes", "v2")
    alone, beside = (_measured(claim, 0.05, beside=third) for third in (None, 0.0125))
    two = analyze_gain(claim, alone.samples_frame(), alone.slots_frame())
    three = analyze_gain(claim, beside.samples_frame(), beside.slots_frame())
    assert two.beside is None
    assert three.beside is not None
    assert three.beside.ci_low is not None
    assert three.beside.ci_high is not None
    assert three.beside.ci_low < 0.25 < three.beside.ci_high < 0.3
    assert three.beside.value == pytest.approx(0.25, rel=0.1)
    assert (two.verdict, two.samples, two.blocks) == (three.verdict, three.samples, three.blocks)
    assert list(three.mechanism) == list(two.mechanism)


def test_a_third_arm_of_a_check_or_of_the_mix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    text = SYSTEM.claims_file.read_text().replace(
        'treatment = "treatment" }\noperations = "mix"',
        'treatment = "treatment", beside = "v2" }\noperations = "mix"',
        1,
    )
    path.write_text(text)
    with pytest.raises(SettingsError, match="a third arm beside the two is measured of"):
        read_claims(path, SYSTEM)
