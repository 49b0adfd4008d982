"""The claims that are put to the test: read from claims.toml, each with its sentence, arms and decision rule."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from archzero_lab.errors import SettingsError, unknown_name

TIMED = ("list", "detail", "search", "filter")
CLAIMS = Path(__file__).with_name("claims.toml")


class Claimed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was claimed: before and after in the claim's unit (after may be a range), the gain as a share."""

    before: float
    after: float | tuple[float, float]
    improvement: float | None = None


class ClaimArms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which arms are compared."""

    control: str
    treatment: str


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    sentence: str
    section: str
    metric: Literal["p50", "p95", "p99", "mean", "hit_rate", "used_memory", "index_size", "failures"]
    unit: str
    claimed: Claimed
    arms: ClaimArms
    operations: Literal["list", "detail", "search", "filter", "mix", "sizes", "checks"]
    rule: Literal["improvement", "at_least", "at_most", "none_fails"]
    mechanism: Literal[
        "hits", "blocks", "keys", "indexes", "entries", "searches_cached", "health", "payloads"
    ]  # a name that is misspelt must not pass for a counter


@dataclass(frozen=True)
class Claim:
    """One claim. `id` is its name in summary.json."""

    id: str
    title: str
    sentence: str
    section: str
    metric: str
    unit: str
    claimed: Claimed
    control: str
    treatment: str
    operations: str
    rule: str
    mechanism: str

    @property
    def timed(self) -> bool:
        """Whether its operations are timed one by one: a claim of a latency."""
        return self.operations in TIMED


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """All claims of a file, in its order. Raises SettingsError with the claim and field that is wrong."""
    claims = []
    for name, table in tomllib.loads(path.read_text()).items():
        try:
            entry = msgspec.convert(table, _Entry)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{path.name}: claim {name}: {error}") from None
        claims.append(
            Claim(
                id=name,
                title=entry.title,
                sentence=entry.sentence,
                section=entry.section,
                metric=entry.metric,
                unit=entry.unit,
                claimed=entry.claimed,
                control=entry.arms.control,
                treatment=entry.arms.treatment,
                operations=entry.operations,
                rule=entry.rule,
                mechanism=entry.mechanism,
            )
        )
    return claims


def choose_claims(only: list[str], claims: list[Claim]) -> list[Claim]:
    """The claims named in `only`, or all. Raises UnknownNameError listing those there are."""
    known = {claim.id: claim for claim in claims}
    for name in only:
        if name not in known:
            raise unknown_name("claim", name, list(known))
    return [claim for claim in claims if not only or claim.id in only]
