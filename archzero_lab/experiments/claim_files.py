"""Claims read from files: a system's claims.toml, then a user's own; what cannot be measured is refused."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from archzero_lab.errors import SettingsError, unknown_name
from archzero_lab.experiments.claims import NO_MECHANISM, UNTIMED, Claim, Claimed
from archzero_lab.experiments.kinds import KINDS, kind_of
from archzero_lab.settings import CHECKOUT, ROOT
from archzero_lab.systems.system import System

_BEFORE_0_2 = CHECKOUT / "archzero_lab" / "experiments" / "claims.own.toml"
OWN_CLAIMS = Path(
    os.environ.get("ARCHZERO_CLAIMS") or (_BEFORE_0_2 if _BEFORE_0_2.exists() else ROOT / "claims.own.toml")
)
"""A user's own, git ignores it. claims.toml says what stands in one."""

_OF_OUR_SERVICE = ("used_memory", "index_size", "partial_share", "failures", "database_time")
"""Metrics of claims that a team's arms do not tell."""
REQUESTS = "requests"
"""Operations that a claim names itself, by their paths."""


class _Arms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which arms are compared; `beside` is measured in the same blocks and has no part in the verdict."""

    control: str
    treatment: str
    beside: str = ""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    metric: str
    claimed: Claimed
    arms: _Arms
    operations: str
    mechanism: str
    rule: str = "improvement"
    sentence: str = ""
    section: str = ""
    over_ms: float | None = None
    paths: tuple[str, ...] = ()


def load_claims(system: System) -> list[Claim]:
    """A system's claims, then the user's own. Raises SettingsError with the file, claim and field that is wrong."""
    claims = read_claims(system.claims_file, system, at=system.claims_at)
    if OWN_CLAIMS.exists():
        known = {claim.id for claim in claims}
        for claim in read_claims(OWN_CLAIMS, system):
            if claim.id in known:
                raise SettingsError(f"{OWN_CLAIMS.name}: claim {claim.id}: there is one of that name; take another")
            claims.append(claim)
    return claims


def choose_claims(system: System, only: Sequence[str] = ()) -> list[Claim]:
    """The claims named, or all there are. Raises UnknownNameError; SettingsError for one that nothing can measure."""
    claims = load_claims(system)
    known = {claim.id: claim for claim in claims}
    for name in only:
        if name not in known:
            raise unknown_name("claim", name, list(known))
    chosen = [claim for claim in claims if not only or claim.id in only]
    for claim in chosen:
        for arm in claim.arms:
            if arm not in system.arms:
                raise SettingsError(f"claim {claim.id}: unknown arm '{arm}'; known: {', '.join(system.arms)}")
        if not system.mix and claim.operations == "mix":
            timed = ", ".join(system.operations)
            raise SettingsError(f"claim {claim.id}: a report has no mix of {system.name}'s requests; known: {timed}")
        if not system.has_notebooks and claim.metric in _OF_OUR_SERVICE:
            raise SettingsError(
                f"claim {claim.id}: {claim.metric} is known of the card service alone: a claim about {system.name} is"
                " about times, throughput, errors or its hit rate"
            )
        if claim.metric == "hit_rate" and not system.arms[claim.treatment].cached:
            raise SettingsError(f"claim {claim.id}: arm {claim.treatment} has no Redis whose hits could be counted")
        if claim.operations == "checks" and claim.id not in system.checks:
            raise SettingsError(f"claim {claim.id}: there is no check of that name; known: {', '.join(system.checks)}")
    return chosen


def arms_of(system: System, claims: Sequence[Claim]) -> list[str]:
    """The arms that these claims compare, each once; those of the compared databases always, which checks want."""
    named = {*system.compared, *(arm for claim in claims for arm in claim.arms)}
    return [arm for arm in system.arms if arm in named]


def read_claims(path: Path, system: System, *, at: str = "") -> list[Claim]:
    """All claims of a file, or of its table `at`, in their order.

    Raises SettingsError with the claim and field that is wrong.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}; mend the line and run again") from None
    claims = []
    for name, table in (tables.get(at, {}) if at else tables).items():
        try:
            entry = msgspec.convert(table, _Entry)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{path.name}: claim {name}: {error}") from None
        wrong = _contradiction(entry, [*system.operations, REQUESTS], system.counters)
        if wrong is not None:
            raise SettingsError(f"{path.name}: claim {name}: {wrong}")
        claims.append(
            Claim(
                id=name,
                title=entry.title,
                sentence=entry.sentence,
                section=entry.section,
                metric=entry.metric,
                claimed=entry.claimed,
                control=entry.arms.control,
                treatment=entry.arms.treatment,
                operations=entry.operations,
                rule=entry.rule,
                mechanism=entry.mechanism,
                over_ms=entry.over_ms,
                paths=entry.paths,
                beside=entry.arms.beside,
                unit=kind_of(entry.rule, entry.metric, entry.operations).metrics[entry.metric],
                mechanism_rises=system.counters.get(entry.mechanism, False),
            )
        )
    return claims


def _contradiction(entry: _Entry, timed: Sequence[str], own: Collection[str]) -> str | None:
    """What in a claim cannot be measured as it stands; None where nothing is."""
    if entry.operations not in (*timed, *UNTIMED):
        return f"unknown operations '{entry.operations}'; known: {', '.join([*timed, *UNTIMED])}"
    of_rule = [kind for kind in KINDS if kind.rule == entry.rule]
    if not of_rule:
        return f"unknown rule '{entry.rule}'; known: {', '.join(dict.fromkeys(kind.rule for kind in KINDS))}"
    wanted = "timed" if entry.operations in timed else entry.operations
    if not any(wanted in kind.operations for kind in of_rule):
        able = [what for kind in of_rule for what in kind.operations]
        operations = [one for what in dict.fromkeys(able) for one in (timed if what == "timed" else [what])]
        return f"rule {entry.rule} has no experiment on {entry.operations}: use {', '.join(operations)}"
    about = [metric for kind in of_rule for metric in kind.metrics]
    if entry.metric not in about:
        return f"rule {entry.rule} is not about {entry.metric}: {entry.rule} goes with {', '.join(about)}"
    return _odd_figures(entry) or _odd_requests(entry, timed, own)


def _odd_figures(entry: _Entry) -> str | None:
    gain, after, share = entry.rule == "improvement", entry.claimed.after, entry.claimed.improvement
    if gain and (share is None or isinstance(after, tuple)):
        return "rule improvement needs claimed.improvement, a share, and one number as claimed.after"
    if gain and entry.metric != "throughput" and share is not None and share >= 1:
        return f"claimed.improvement = {share:g} leaves less than nothing: give a share below 1"
    if entry.rule in ("at_least", "at_most") and not isinstance(after, tuple):
        return f"rule {entry.rule} needs a range [least, most] as claimed.after"
    if (entry.metric == "share_over") != (entry.over_ms is not None):
        return "metric share_over and the limit over_ms go together"
    if entry.metric == "error_share" and entry.operations != "mix":
        return 'error_share wants operations = "mix": elsewhere a wrong answer ends the run'
    if entry.metric == "database_time" and entry.operations != "mix":
        return 'database_time wants operations = "mix": alone a request takes what its statement takes'
    return None


def _odd_requests(entry: _Entry, timed: Sequence[str], own: Collection[str]) -> str | None:
    if entry.arms.beside and entry.operations not in (*timed, "sizes"):
        return f"a third arm beside the two is measured of {', '.join(timed)} and sizes alone"
    if (entry.operations == REQUESTS) != bool(entry.paths):
        return 'operations = "requests" and the paths to ask for go together'
    wrong = next((path for path in entry.paths if not path.startswith("/") or not path.isascii() or " " in path), None)
    if wrong is not None:
        return f"path {wrong!r} must begin with / and be URL-encoded"
    counted = kind_of(entry.rule, entry.metric, entry.operations).mechanisms(entry.operations)
    if entry.operations in timed:
        counted = (*counted, *own)
    if entry.rule == "improvement" and entry.operations in (*timed, "mix"):
        counted = (*counted, NO_MECHANISM)
    if counted and entry.mechanism not in counted:
        return f"mechanism {entry.mechanism} is not counted there: use {' or '.join(counted)}"
    return None
