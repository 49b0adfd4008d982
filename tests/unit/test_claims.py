"""The claims as their file holds them: each with an experiment, judged by its kind, told by name where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import SettingsError, UnknownNameError
from archzero_lab.experiments.claim_files import choose_claims, load_claims, read_claims
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.kinds import KINDS, kind_of
from archzero_lab.experiments.trials import analyze_check
from archzero_lab.reporting.scorecard import rows
from archzero_lab.stats.verdict import Verdict
from archzero_lab.systems.arczero.checks.registry import CHECKS
from archzero_lab.systems.arczero.profiles import PROFILES
from archzero_lab.systems.profiles import choose_profile

SYSTEM = system_here()


def _claim(name: str) -> Claim:
    return next(claim for claim in load_claims(SYSTEM) if claim.id == name)


def test_every_claim_has_an_experiment() -> None:
    claims = load_claims(SYSTEM)
    assert {"card_list_cached", "search_gin", "cache_hit_rate", "index_overhead"} <= {claim.id for claim in claims}
    assert {claim.id for claim in claims if claim.operations == "checks"} == set(CHECKS)
    used = {kind_of(claim.rule, claim.metric, claim.operations).name for claim in claims}
    assert used == {kind.name for kind in KINDS}


@pytest.mark.parametrize(
    ("trials", "failures", "moved", "verdict"),
    [
        (100, [], True, Verdict.CONFIRMED),
        (100, ["one"], True, Verdict.REFUTED),
        (10, [], True, Verdict.INCONCLUSIVE),
        (100, [], False, Verdict.INCONCLUSIVE),
    ],
)
def test_a_claim_that_nothing_fails_falls_by_one_failure(
    trials: int, failures: list[str], moved: bool, verdict: Verdict
) -> None:
    result = analyze_check(_claim("ttl_policies"), trials, failures, {"moved": moved})
    assert result.verdict is verdict
    assert result.ci_low <= result.improvement <= result.ci_high
    assert result.note.startswith(f"{len(failures)} of {trials} trials failed")


def test_trials_that_were_not_seen_leave_a_claim_undecided_and_say_why() -> None:
    claim = _claim("works_without_redis")
    slow = analyze_check(claim, 19, [], {"moved": True}, unseen=["GET /: no answer in time"])
    assert slow.verdict is Verdict.INCONCLUSIVE
    assert slow.warnings[-1] == (
        "the machine was too slow to see: 1 trials were not seen, the first: GET /: no answer in time"
    )
    assert analyze_check(claim, 40, [], {"moved": True}, unseen=["one"]).verdict is Verdict.INCONCLUSIVE
    assert analyze_check(claim, 40, ["500"], {"moved": True}, unseen=["one"]).verdict is Verdict.REFUTED


def test_trials_of_a_list_that_somebody_chose_have_no_interval() -> None:
    claim = _claim("no_sql_injection")
    held = analyze_check(claim, 80, [], {"moved": True}, independent=False)
    assert (held.verdict, held.counted, held.detectable) == (Verdict.CONFIRMED, True, None)
    assert held.ci_low == held.ci_high == 1.0
    assert "ruled out" not in held.note
    assert rows({"claims": [held.as_dict()]})[0]["interval"] == "counted"


def test_an_unknown_claim_and_an_unknown_profile_name_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="unknown claim 'speed'; known: card_list_cached"):
        choose_claims(SYSTEM, ["speed"])
    with pytest.raises(UnknownNameError, match="unknown profile 'big'; known: smoke, standard, full"):
        choose_profile(PROFILES, "big", None)


def test_a_broken_claims_file_names_claim_and_field(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(SYSTEM.claims_file.read_text().replace('rule = "at_most"', 'rule = "perhaps"', 1))
    with pytest.raises(SettingsError, match=r"claim redis_memory: unknown rule 'perhaps'; known: improvement"):
        read_claims(path, SYSTEM)
