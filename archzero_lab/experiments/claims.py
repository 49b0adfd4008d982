"""The claims that are put to the test: read from claims.toml, and a user's own from claims.own.toml beside it."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from archzero_lab.errors import SettingsError, unknown_name

TIMED = ("list", "detail", "search", "filter", "requests")
CLAIMS = Path(__file__).with_name("claims.toml")
OWN_CLAIMS = Path(os.environ.get("ARCHZERO_CLAIMS", CLAIMS.with_name("claims.own.toml")))
"""A user's own, git ignores it. claims.toml says what stands in one."""

_UNITS = {"throughput": "1/s", "hit_rate": "share", "share_over": "share", "error_share": "share",
          "used_memory": "MB", "index_size": "MB", "partial_share": "share", "failures": "failures"}  # fmt: skip
_GAINS = ("p50", "p95", "p99", "mean", "throughput", "share_over", "error_share", "database_time")
_MEASURED = {
    "improvement": (*TIMED, "mix"),
    "at_least": ("mix",),
    "at_most": ("mix", "sizes"),
    "none_fails": ("checks", "sizes"),
}
"""Which operations have an experiment for a rule."""


class Claimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was claimed: before and after (after may be a range), the gain as a share.

    `unit` where that of the claim is not the one in which it is measured: then only the gain can be compared.
    """

    before: float
    after: float | tuple[float, float]
    improvement: float | None = None
    unit: str = ""


class ClaimArms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which arms are compared; `beside` is measured in the same blocks and has no part in the verdict."""

    control: str
    treatment: str
    beside: str = ""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    sentence: str
    section: str
    metric: Literal[
        "p50", "p95", "p99", "mean", "throughput", "share_over", "error_share",
        "database_time", "hit_rate", "used_memory", "index_size", "partial_share", "failures",
    ]  # fmt: skip
    claimed: Claimed
    arms: ClaimArms
    operations: Literal["list", "detail", "search", "filter", "requests", "mix", "sizes", "checks"]
    rule: Literal["improvement", "at_least", "at_most", "none_fails"]
    mechanism: Literal[
        "hits",
        "blocks",
        "keys",
        "indexes",
        "entries",
        "searches_cached",
        "health",
        "payloads",
        "statements",
        "scans",
        "refused",
        "rows_left_out",
    ]  # a name that is misspelt must not pass for a counter
    over_ms: float | None = None
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One claim. `id` is its name in summary.json; `paths` are asked for where its operations are "requests".

    `beside` names a third arm, measured in the same blocks, that the verdict does not regard; "" is none.
    """

    id: str
    title: str
    sentence: str
    section: str
    metric: str
    claimed: Claimed
    control: str
    treatment: str
    operations: str
    rule: str
    mechanism: str
    over_ms: float | None = None
    paths: tuple[str, ...] = ()
    beside: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms of a block."""
        return (self.control, self.treatment, *filter(None, [self.beside]))

    @property
    def timed(self) -> bool:
        """Whether its operations are timed one by one, in slots of their own."""
        return self.operations in TIMED

    @property
    def unit(self) -> str:
        """The unit of what is measured: ms, share, 1/s, MB or failures (database_time: ms a request)."""
        return _UNITS.get(self.metric, "ms")

    @property
    def rises(self) -> bool:
        """Whether more is better."""
        return self.metric == "throughput"


def load_claims() -> list[Claim]:
    """Phase 5's claims, then the user's own. Raises SettingsError with the file, claim and field that is wrong."""
    claims = read_claims(CLAIMS)
    if OWN_CLAIMS.exists():
        ours = {claim.id for claim in claims}
        for claim in read_claims(OWN_CLAIMS):
            if claim.id in ours:
                raise SettingsError(f"{OWN_CLAIMS.name}: claim {claim.id}: there is one of that name; take another")
            claims.append(claim)
    return claims


def read_claims(path: Path) -> list[Claim]:
    """All claims of a file, in its order. Raises SettingsError with the claim and field that is wrong."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}; mend the line and run again") from None
    claims = []
    for name, table in tables.items():
        try:
            entry = msgspec.convert(table, _Entry)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{path.name}: claim {name}: {error}") from None
        if (wrong := _contradiction(entry)) is not None:
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
            )
        )
    return claims


def _contradiction(entry: _Entry) -> str | None:
    """What in a claim cannot be measured as it stands; None where nothing is."""
    gain, after, share = entry.rule == "improvement", entry.claimed.after, entry.claimed.improvement
    if entry.operations not in _MEASURED[entry.rule]:
        return f"rule {entry.rule} has no experiment on {entry.operations}: use {', '.join(_MEASURED[entry.rule])}"
    if gain != (entry.metric in _GAINS):
        return f"rule {entry.rule} is not about {entry.metric}: improvement goes with {', '.join(_GAINS)}"
    if gain and (share is None or isinstance(after, tuple)):
        return "rule improvement needs claimed.improvement, a share, and one number as claimed.after"
    if (
        gain
        and entry.metric != "throughput"
        and entry.claimed.improvement is not None
        and entry.claimed.improvement >= 1
    ):
        return f"claimed.improvement = {entry.claimed.improvement:g} leaves less than nothing: give a share below 1"
    if entry.rule in ("at_least", "at_most") and not isinstance(after, tuple):
        return f"rule {entry.rule} needs a range [least, most] as claimed.after"
    if (entry.metric == "share_over") != (entry.over_ms is not None):
        return "metric share_over and the limit over_ms go together"
    if entry.metric == "error_share" and entry.operations != "mix":
        return 'error_share wants operations = "mix": elsewhere a wrong answer ends the run'
    if entry.metric == "database_time" and entry.operations != "mix":
        return 'database_time wants operations = "mix": alone a request takes what its statement takes'
    if entry.arms.beside and entry.operations not in (*TIMED, "sizes"):
        return f"a third arm beside the two is measured of {', '.join(TIMED)} and sizes alone"
    if (entry.operations == "requests") != bool(entry.paths):
        return 'operations = "requests" and the paths to ask for go together'
    wrong = next((path for path in entry.paths if not path.startswith("/") or not path.isascii() or " " in path), None)
    if wrong is not None:
        return f"path {wrong!r} must begin with / and be URL-encoded"
    counted = ("hits",) if entry.operations == "mix" else ("hits", "blocks")
    if gain and entry.mechanism not in counted:
        return f"mechanism {entry.mechanism} is not counted there: use {' or '.join(counted)}"
    return None


def choose_claims(only: list[str], claims: list[Claim]) -> list[Claim]:
    """The claims named in `only`, or all. Raises UnknownNameError listing those there are."""
    known = {claim.id: claim for claim in claims}
    for name in only:
        if name not in known:
            raise unknown_name("claim", name, list(known))
    return [claim for claim in claims if not only or claim.id in only]
