"""Claims that a user adds: read beside ours, refused where nothing could measure them, judged on every metric."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import SettingsError
from archzero_lab.experiments import claim_files
from archzero_lab.experiments.claim_files import choose_claims, load_claims, read_claims
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.gains import analyze_gain
from archzero_lab.experiments.metrics import by_block
from archzero_lab.experiments.mix import LoadResult
from archzero_lab.reporting.scorecard import rows
from archzero_lab.stats.verdict import Verdict
from archzero_lab.systems.arczero.traffic import slot_operations
from tests.unit.test_traffic import CATALOG

SYSTEM = system_here()
OWN = """
[open_risks]
title = "Open risks"
sentence = "The list of risks answers in 5 ms"
section = "our service level"
metric = "p95"
claimed = { before = 100, after = 5, improvement = 0.95 }
arms = { control = "control", treatment = "treatment" }
operations = "requests"
paths = ["/api/v1/cards?type=Risk", "/api/v1/cards?type=Risk&minQuality=80"]
rule = "improvement"
mechanism = "hits"
"""


def _read(tmp_path: Path, **changed: str) -> Claim:
    text = OWN
    for name, value in changed.items():
        line = f"{name} = {value}"
        text, found = re.subn(rf"^{name} = .*$", lambda _, line=line: line, text, flags=re.MULTILINE)
        text += "" if found else line + "\n"
    path = tmp_path / "claims.own.toml"
    path.write_text(text)
    return read_claims(path, SYSTEM)[0]


def test_the_example_in_claims_toml_can_be_used_as_it_stands(tmp_path: Path) -> None:
    example = SYSTEM.claims_file.read_text().partition("One's own:\n#\n")[2].partition("\n\n")[0]
    path = tmp_path / "claims.own.toml"
    path.write_text(re.sub(r"^# ?", "", example, flags=re.MULTILINE))
    assert [claim.operations for claim in read_claims(path, SYSTEM)] == ["requests"]


def test_own_claims_come_after_ours_and_may_not_take_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "claims.own.toml"
    monkeypatch.setattr(claim_files, "OWN_CLAIMS", path)
    ours = [claim.id for claim in load_claims(SYSTEM)]
    path.write_text(OWN)
    assert [claim.id for claim in load_claims(SYSTEM)] == [*ours, "open_risks"]
    assert choose_claims(SYSTEM, ["open_risks"])[0].paths[0] == "/api/v1/cards?type=Risk"
    path.write_text(OWN.replace("[open_risks]", "[search_gin]"))
    with pytest.raises(SettingsError, match="claim search_gin: there is one of that name"):
        load_claims(SYSTEM)
    path.write_text(OWN.replace('treatment = "treatment"', 'treatment = "turbo"'))
    with pytest.raises(SettingsError, match="unknown arm 'turbo'; known: control, indexes, cache, treatment"):
        choose_claims(SYSTEM, [])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rule": '"at_least"'}, "rule at_least has no experiment on requests: use mix"),
        ({"metric": '"hit_rate"'}, "rule improvement is not about hit_rate"),
        ({"claimed": "{ before = 100, after = 5 }"}, "needs claimed.improvement"),
        ({"claimed": "{ before = 100, after = 5, improvement = 95 }"}, "give a share below 1"),
        ({"metric": '"share_over"'}, "share_over and the limit over_ms go together"),
        ({"metric": '"error_share"'}, 'error_share wants operations = "mix"'),
        ({"paths": "[]"}, "the paths to ask for go together"),
        ({"paths": '["cards"]'}, "path 'cards' must begin with / and be URL-encoded"),
        ({"mechanism": '"keys"'}, "mechanism keys is not counted there: use hits or blocks"),
        ({"metrics": '"p50"'}, "unknown field `metrics`"),
    ],
)
def test_a_claim_that_nothing_could_measure_is_refused_with_what_is_wrong(
    tmp_path: Path, changed: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError, match="claim open_risks: ") as caught:
        _read(tmp_path, **changed)
    assert told in str(caught.value)


def test_own_requests_are_asked_for_equally_often(tmp_path: Path) -> None:
    claim = _read(tmp_path)
    made = slot_operations("requests", CATALOG, distinct=9, requests=10, seed=1, block=0, paths=claim.paths)
    assert [operation.path for operation in made.warm_up] == list(claim.paths)
    assert sorted(operation.path for operation in made.timed) == sorted([*claim.paths] * 5)


def _frames(ratio: float, *, slow_share: tuple[float, float] = (0.0, 0.0)) -> tuple[pd.DataFrame, pd.DataFrame]:
    """12 blocks of 300 requests; the treatment takes `ratio` of the time; so many of each arm's take 80 ms."""
    rng = np.random.default_rng(5)
    samples, slots = [], []
    for block in range(12):
        for arm, scale, slow in (("control", 1.0, slow_share[0]), ("treatment", ratio, slow_share[1])):
            times = 0.02 * scale * np.exp(rng.normal(0, 0.05, 300))
            times[rng.random(300) < slow] = 0.08
            samples.append(
                pd.DataFrame(
                    {"claim": "open_risks", "block": block, "arm": arm, "service_time_s": times, "ok": times < 0.08}
                )
            )
            hits = 300 if arm == "treatment" else 0
            slots.append(
                {"claim": "open_risks", "block": block, "arm": arm, "requests": 300, "seconds": times.sum(),
                 "hits": hits, "misses": 0, "statements": 1, "database_s": 0.1, "blocks": 5, "steal": 0.0,
                 "yardstick_ms": 0.1}
            )  # fmt: skip
    return pd.concat(samples, ignore_index=True), pd.DataFrame(slots)


def test_a_throughput_rises_and_its_claim_is_judged_the_other_way_round(tmp_path: Path) -> None:
    claimed = "{ before = 50, after = 100, improvement = 1.0 }"
    claim = _read(tmp_path, metric='"throughput"', claimed=claimed)
    faster, slower = analyze_gain(claim, *_frames(1 / 3)), analyze_gain(claim, *_frames(1 / 1.5))
    assert faster.verdict is Verdict.CONFIRMED
    assert faster.improvement == pytest.approx(2.0, abs=0.05)
    assert faster.ci_low < faster.improvement < faster.ci_high
    assert slower.verdict is Verdict.REFUTED
    assert slower.note.startswith("throughput 49.9% more (")
    told = rows({"claims": [faster.as_dict()]})[0]
    assert told["claimed"] == "50 → 100 a second, 100.0% more"
    assert re.fullmatch(r"49\.9 → 150 a second, \d+\.\d% more", told["measured"])


def test_a_share_over_a_limit_counts_requests_and_wants_some(tmp_path: Path) -> None:
    claim = _read(tmp_path, metric='"share_over"', over_ms="50")
    found = analyze_gain(claim, *_frames(1.0, slow_share=(0.30, 0.006)))
    assert found.verdict is Verdict.CONFIRMED
    assert (found.before, found.after) == (pytest.approx(0.30, abs=0.03), pytest.approx(0.006, abs=0.004))
    assert "share over 50 ms" in found.note
    none = analyze_gain(claim, *_frames(1.0))
    assert none.verdict is Verdict.INCONCLUSIVE
    assert "needs at least 10 requests of that kind, had 0 of 7,200" in none.warnings


def test_an_error_share_counts_what_failed() -> None:
    samples, slots = _frames(1.0, slow_share=(0.2, 0.0))
    table = by_block("error_share", None, samples, slots)
    assert table["treatment"].tolist() == pytest.approx([0.5 / 301] * 12)
    assert table["control"].mean() == pytest.approx(0.2, abs=0.02)


def test_nearer_to_the_claim_than_the_machine_can_tell_is_inconclusive(tmp_path: Path) -> None:
    claim = _read(tmp_path, metric='"mean"', claimed="{ before = 20, after = 1, improvement = 0.945 }")
    frames = _frames(0.054)
    assert analyze_gain(claim, *frames).verdict is Verdict.CONFIRMED
    told = analyze_gain(claim, *frames, margin=0.05)
    assert told.verdict is Verdict.INCONCLUSIVE
    assert "too close to the claim: identical arms differ by 5.0% on this machine" in told.warnings
    assert analyze_gain(claim, *_frames(0.02), margin=0.05).verdict is Verdict.CONFIRMED


def test_a_claim_on_the_mix_is_judged_from_the_load(tmp_path: Path) -> None:
    samples, slots = _frames(1 / 3, slow_share=(0.2, 0.0))
    requests = samples.assign(response_ms=samples["service_time_s"] * 1000, name="open card")
    load = LoadResult(requests[["block", "arm", "name", "response_ms", "ok"]],
                      slots[["block", "arm", "seconds", "hits", "misses"]], "a mix")  # fmt: skip
    claimed = "{ before = 50, after = 100, improvement = 1.0 }"
    rate = _read(tmp_path, metric='"throughput"', claimed=claimed, operations='"mix"', paths="[]")
    errors = _read(tmp_path, metric='"error_share"', operations='"mix"', paths="[]")
    found = analyze_gain(rate, *load.as_measured(rate.id))
    assert (found.verdict, found.blocks) == (Verdict.CONFIRMED, 12)
    fewer = analyze_gain(errors, *load.as_measured(errors.id))
    assert fewer.before == pytest.approx(0.2, abs=0.03)
    assert fewer.verdict is Verdict.CONFIRMED
