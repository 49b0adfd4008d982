"""Two runs beside each other, the gate's rules and exits, the history and its change points."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.run_folders import gate, gate_forms, history
from archzero_lab.run_folders.finding import find_run
from archzero_lab.run_folders.run import Run
from archzero_lab.run_folders.series import comparable, compare_runs
from archzero_lab.stats.multiple import holm, signed_rank_p
from archzero_lab.stats.sequential import course
from archzero_lab.stats.unpaired import _cut, shape_changed, shift
from archzero_lab.stats.verdict import Change, change

CLAIMS = {"card_list_cached": 5.0, "card_detail_cached": 0.6, "search_gin": 20.0}


def write_run(folder: Path, name: str, *, seed: int, slower: dict[str, float] | None = None, **summary: Any) -> Path:
    """A run's folder with samples of three claims and two arms; `slower` multiplies the times of a claim."""
    rng = np.random.default_rng(seed)
    rows = []
    for claim, ms in CLAIMS.items():
        for arm in ("control", "treatment"):
            for block in range(12):
                level = ms * (slower or {}).get(claim, 1.0) * np.exp(rng.normal(0, 0.02))
                times = level * np.exp(rng.normal(0, 0.1, 40)) / 1000
                rows += [{"claim": claim, "block": block, "arm": arm, "service_time_s": t} for t in times]
    path = folder / name
    path.mkdir()
    pd.DataFrame(rows).to_parquet(path / "samples.parquet")
    claims = [{"id": claim, "verdict": "refuted", "measured": {"blocks": 12}} for claim in CLAIMS]
    told = {
        "run_id": name,
        "profile": "smoke",
        "size": 20_000,
        "label": "generated",
        "environment": {"machine": "m1", "git_commit": "c" * 40},
        "claims": claims,
        "seed": 1,
    }
    (path / "summary.json").write_text(json.dumps(told | summary))
    return path


def load(folder: Path, name: str, **options: Any) -> Run:
    return find_run(str(write_run(folder, name, **options)))


# -- the statistics beneath --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "critical"), [(4, 4, 0), (5, 5, 2), (6, 6, 5), (8, 8, 13), (12, 12, 37), (5, 8, 6)])
def test_the_mann_whitney_cut_is_that_of_the_published_tables(n: int, m: int, critical: int) -> None:
    assert _cut(n, m, 0.95) == critical + 1


def test_the_interval_of_two_series_covers_their_shift_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    trials, held = 1_000, 0
    for _ in range(trials):
        found = shift(rng.standard_t(3, 12), rng.standard_t(3, 12) + 0.5)
        held += found.low <= 0.5 <= found.high
    assert held / trials >= 0.93


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(after >= before - 1e-9 for before, after in zip(values, adjusted, strict=True))
    order = np.argsort(values, kind="stable")
    assert all(adjusted[a] <= adjusted[b] + 1e-12 for a, b in itertools.pairwise(order))


def test_holm_is_that_of_the_book() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert signed_rank_p([1.0] * 6) == pytest.approx(2 / 64)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (1.11, 1.3, Change.REGRESSED),
        (0.7, 0.9, Change.IMPROVED),
        (0.95, 1.05, Change.EQUIVALENT),
        (0.95, 1.2, Change.INCONCLUSIVE),
        (1.02, 1.2, Change.INCONCLUSIVE),
    ],
)
def test_a_change_is_named_by_where_its_whole_interval_lies(low: float, high: float, found: Change) -> None:
    assert change(low, high, 0.10) is found


def test_a_changed_shape_is_seen_and_a_mere_scale_is_not() -> None:
    rng = np.random.default_rng(4)
    plain = rng.lognormal(0, 0.2, 2_000)
    split = np.where(rng.random(2_000) < 0.5, 0.5, 2.0) * rng.lognormal(0, 0.2, 2_000)
    assert shape_changed(plain, 3 * rng.lognormal(0, 0.2, 2_000)) is None
    assert shape_changed(plain, split) is not None
    assert shape_changed(plain[:50], split[:50]) is None, "too few to say"


def test_the_course_decides_for_an_effect_and_its_interval_narrows() -> None:
    found = course(np.random.default_rng(5).normal(1.5, 1, 40))
    assert found.decided_at is not None
    assert 6 <= found.decided_at <= 25
    assert found.low[-1] <= 1.5 <= found.high[-1]
    assert found.high[-1] - found.low[-1] < found.high[9] - found.low[9]


# -- two runs ----------------------------------------------------------------------------------------------


def test_two_runs_of_the_same_are_equivalent_and_a_slower_query_is_named(tmp_path: Path) -> None:
    before = load(tmp_path, "a", seed=1)
    again = load(tmp_path, "b", seed=2)
    slower = load(tmp_path, "c", seed=3, slower={"search_gin": 1.2})
    assert {row.found for row in compare_runs(before, again) if row.metric == "p50"} == {Change.EQUIVALENT}
    found = {row.claim: row.found for row in compare_runs(before, slower) if row.metric == "p50"}
    assert found["search_gin"] is Change.REGRESSED
    assert found["card_list_cached"] is Change.EQUIVALENT


def test_runs_that_asked_the_same_are_held_against_each_other_block_by_block(tmp_path: Path) -> None:
    """What differs from block to block, for other searches are dearer, is in both runs and says nothing of them."""
    frames = {}
    for name, seed in (("a", 1), ("b", 2)):
        path = write_run(tmp_path, name, seed=seed)
        samples = pd.read_parquet(path / "samples.parquet")
        samples["service_time_s"] *= np.exp(np.sin(samples["block"] * 2.0))
        samples.to_parquet(path / "samples.parquet")
        frames[name] = path
    before, again = (find_run(str(path)) for path in frames.values())
    paired = {row.found for row in compare_runs(before, again) if row.metric == "p50"}
    assert paired == {Change.EQUIVALENT}
    again.summary = again.summary | {"seed": 7}
    assert {row.found for row in compare_runs(before, again) if row.metric == "p50"} == {Change.INCONCLUSIVE}


def test_quantiles_that_a_slot_is_too_small_for_are_left_out(tmp_path: Path) -> None:
    assert {metric for _, _, metric in load(tmp_path, "a", seed=1).series} == {"p50", "mean"}


def test_another_machine_or_size_is_said(tmp_path: Path) -> None:
    one = load(tmp_path, "a", seed=1)
    other = load(tmp_path, "b", seed=2, size=100, environment={"machine": "m2"})
    assert comparable(one, other) == ["another size: 20000 and 100", "another machine: m1 and m2"]


# -- the gate ----------------------------------------------------------------------------------------------


def test_the_gate_passes_the_same_and_fails_a_build_with_a_fifth_added_to_one_query(tmp_path: Path) -> None:
    before, again = load(tmp_path, "a", seed=1), load(tmp_path, "b", seed=2)
    slower = load(tmp_path, "c", seed=3, slower={"search_gin": 1.2})
    assert gate.run_gate(again, before, []).result == gate.PASS
    found = gate.run_gate(slower, before, [])
    assert found.result == gate.REGRESSION
    failed = {outcome.name for outcome in found.outcomes if outcome.result == gate.REGRESSION}
    assert failed == {"search_gin / control / p50", "search_gin / treatment / p50"}
    text = gate_forms.markdown(found)
    assert text.startswith("### Performance gate: regression")
    assert text.index("search_gin") < text.index("card_list_cached"), "the worst first"
    xml = ElementTree.fromstring(gate_forms.junit(found))  # noqa: S314  # our own
    assert xml.attrib["failures"] == "2"
    assert len(xml.findall("testcase/failure")) == 2


@pytest.mark.parametrize(("ms", "result"), [(2.6, gate.INCONCLUSIVE), (2.0, gate.REGRESSION), (1.4, gate.REGRESSION)])
def test_only_a_machine_that_became_slower_is_a_doubt(tmp_path: Path, ms: float, result: str) -> None:
    paths = write_run(tmp_path, "a", seed=1), write_run(tmp_path, "b", seed=2, slower={"search_gin": 1.3})
    for path, yardstick_ms in zip(paths, (2.0, ms), strict=True):
        pd.DataFrame({"block": range(12), "yardstick_ms": yardstick_ms}).to_parquet(path / "slots.parquet")
    assert gate.run_gate(find_run(str(paths[1])), find_run(str(paths[0])), []).result == result


def test_the_gate_says_first_how_small_a_difference_it_can_see_between_the_runs(tmp_path: Path) -> None:
    before, after = load(tmp_path, "a", seed=1), load(tmp_path, "b", seed=2)
    guessed = gate.run_gate(after, before, [])
    assert guessed.sight.startswith("between these two runs less than 10% cannot be seen (this machine has no history")
    assert gate_forms.markdown(guessed).index(guessed.sight) < gate_forms.markdown(guessed).index("| what |")
    spread = {(claim, "control", "p50"): 0.4 for claim in CLAIMS}
    told = gate.run_gate(after, before, [], spread).sight
    assert told.startswith("between these two runs less than 10% to 40%, by series, cannot be seen (by its history")
    assert told.endswith("gate --build measures both codes in one run, gate --work counts what they do")
    elsewhere = load(tmp_path, "c", seed=3, environment={"machine": "m2"})
    assert gate.run_gate(elsewhere, before, []).sight.startswith("the runs are of two machines: no difference of time")


def test_a_run_that_never_measured_fails_and_so_does_a_rule_about_what_it_did_not(tmp_path: Path) -> None:
    before = load(tmp_path, "a", seed=1)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "summary.json").write_text(json.dumps({"run_id": "empty", "claims": []}))
    assert gate.run_gate(find_run(str(empty)), before, []).result == gate.REGRESSION
    rule = gate.Rule(claim="filtered_queries", max_ms=5)
    assert gate.run_gate(before, None, [rule]).outcomes == [
        gate.Outcome("filtered_queries / any arm / p50", gate.REGRESSION, "was not measured")
    ]


@pytest.mark.parametrize(("most_ms", "result"), [(6.0, gate.PASS), (4.0, gate.REGRESSION), (5.0, gate.INCONCLUSIVE)])
def test_an_absolute_rule_is_held_by_the_whole_interval(tmp_path: Path, most_ms: float, result: str) -> None:
    run = load(tmp_path, "a", seed=1)
    rule = gate.Rule(claim="card_list_cached", arm="treatment", max_ms=most_ms)
    assert gate.run_gate(run, None, [rule]).result == result


def test_a_rule_on_a_verdict(tmp_path: Path) -> None:
    run = load(tmp_path, "a", seed=1)
    assert gate.run_gate(run, None, [gate.Rule(claim="search_gin", verdict="refuted")]).result == gate.PASS
    assert gate.run_gate(run, None, [gate.Rule(claim="search_gin", verdict="confirmed")]).result == gate.REGRESSION


def test_that_everything_moved_at_once_is_said(tmp_path: Path) -> None:
    before = load(tmp_path, "a", seed=1)
    after = load(tmp_path, "b", seed=2, slower=dict.fromkeys(CLAIMS, 1.5))
    assert "the machine, or all of the code" in gate.run_gate(after, before, []).warnings[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[gate.rules]]\nclaim = "x"', "rule 1: give one of max_ms"),
        ('[[gate.rules]]\nclaim = "x"\nmax_ms = "5"', "rule 1: Expected `float | null`"),
        ('[[gate.rules]]\nclaim = "x"\nspeed = 1', "rule 1: .*speed"),
        ("[[gate.rules", "not valid TOML"),
    ],
)
def test_a_wrong_rule_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        gate.read_rules(path)


def test_a_gate_without_rule_or_baseline_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name --against RUN, or --rules"):
        gate.run_gate(load(tmp_path, "a", seed=1), None, [])
    with pytest.raises(LabError, match="no run 'nowhere'"):
        find_run("nowhere")


# -- the history -------------------------------------------------------------------------------------------


def test_a_run_s_rows_are_added_once_and_hold_the_paired_ratio(tmp_path: Path) -> None:
    file = tmp_path / "history.parquet"
    run = load(tmp_path, "a", seed=1)
    added = history.append(run, {}, file)
    assert history.append(run, {}, file) == added
    rows = history.read(file)
    assert len(rows) == added
    ratio = rows[(rows["arm"] == history.RATIO) & (rows["claim"] == "search_gin") & (rows["metric"] == "p50")].iloc[0]
    assert ratio["ci_low"] <= ratio["value"] <= ratio["ci_high"]
    assert ratio["value"] == pytest.approx(1, abs=0.05)


def test_a_change_of_the_code_and_one_of_the_machine_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows = []
    for number in range(24):
        machine_speed = 1.0 if number < 16 else 1.4
        code = 1.0 if number < 8 else 1.3
        control = 10 * machine_speed * np.exp(rng.normal(0, 0.01))
        told = {"run_id": f"r{number:02}", "commit": "c", "machine": "m", "size": 1, "claim": "x", "metric": "p50"}
        rows.append(told | {"arm": "control", "value": control})
        rows.append(told | {"arm": history.RATIO, "value": 0.1 * code * np.exp(rng.normal(0, 0.01))})
    found = history.change_points(pd.DataFrame(rows))
    assert [(point.what, point.run_id) for point in found] == [
        ("the code changed", "r08"),
        ("the machine or the baseline changed", "r16"),
    ]
    assert found[0].ratio == pytest.approx(1.3, abs=0.03)


def test_noise_alone_has_no_change_point() -> None:
    rng = np.random.default_rng(7)
    false_alarms = 0
    for _ in range(60):
        told = {"run_id": "r", "commit": "c", "machine": "m", "size": 1, "claim": "x", "metric": "p50"}
        rows = [told | {"arm": history.RATIO, "value": np.exp(v)} for v in rng.standard_t(3, 30) * 0.05]
        false_alarms += bool(history.change_points(pd.DataFrame(rows)))
    assert false_alarms <= 4


def test_no_history_yet_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="adds to it"):
        history.read(tmp_path / "history.parquet")
