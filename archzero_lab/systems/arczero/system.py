"""Phase 5 of the Arc Zero API as a system: the card service with and without its indexes and its cache."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from archzero_lab.errors import LabError, mask_secrets, unknown_name
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings, patient
from archzero_lab.systems.arczero.arms import ARMS
from archzero_lab.systems.arczero.checks.registry import CHECKS
from archzero_lab.systems.arczero.consistency.endured_cards import CardsEndure
from archzero_lab.systems.arczero.consistency.failover_cards import CardFailovers
from archzero_lab.systems.arczero.consistency.histories import CardHistories
from archzero_lab.systems.arczero.portfolios import (
    alone_with_base,
    choose_portfolio,
    drop_arms,
    ensure_base,
    make_arms,
    upto,
)
from archzero_lab.systems.arczero.prepared import PreparedCards
from archzero_lab.systems.arczero.profiles import PROFILES
from archzero_lab.systems.arczero.scaled_cards import ScaledCards
from archzero_lab.systems.arczero.work import COUNTABLE
from archzero_lab.systems.arms import ArmKind, Opening
from archzero_lab.systems.endured import Endures
from archzero_lab.systems.failovers import Failovers
from archzero_lab.systems.histories import Histories
from archzero_lab.systems.http import request
from archzero_lab.systems.profiles import Profile
from archzero_lab.systems.scaled import Scaled
from archzero_lab.systems.system import Loading, Rows
from archzero_lab.systems.work import Countable

_POOL_WAIT_S = 2.0
"""For a connection, where the sizes of a pool are tried."""


class ArcZero:
    """Implements systems.system.System."""

    name: str = "arczero"
    title: str = "Phase 5 of the Arc Zero API"
    arms: Mapping[str, ArmKind] = ARMS
    compared: tuple[str, str] = ("control", "treatment")
    operations: Collection[str] = ("list", "detail", "search", "filter")
    profiles: Mapping[str, Profile] = PROFILES
    checks: Collection[str] = tuple(CHECKS)
    claims_file: Path = Path(__file__).with_name("claims.toml")
    claims_at: str = ""
    counters: Mapping[str, bool] = {}
    has_notebooks: bool = True
    mix: str = "1 edit in 100, cards by Zipf's law with exponent 1"
    load_user: str = "PortfolioUser"
    think_time_s: float = 0.04
    takes_hosts: bool = True
    default_arm: str = "treatment"
    addresses: Mapping[str, str] = {}
    self_check_arms: Mapping[str, str] = {"PostgreSQL": "indexes", "Redis": "treatment"}
    countable: Countable = COUNTABLE
    pool_arm: str = "indexes"
    pool_mix: Mapping[str, int] = {"detail": 8, "list": 4, "filter": 5, "search": 3}
    pool_metrics: Mapping[str, str] = {
        "waits": "archzero_pool_acquire_wait_seconds_count",
        "waited_s": "archzero_pool_acquire_wait_seconds_sum",
        "held_s": "archzero_pool_held_seconds_sum",
    }
    histories: Histories = CardHistories()
    endures: Endures = CardsEndure()
    failovers: Failovers = CardFailovers()
    scaled: Scaled = ScaledCards()

    def pool_opening(self, stack: Stack, arm: str, size: int) -> Opening:
        """A service that waits shorter for a connection than phase 5's 30 s: a load of seconds shows who is refused."""
        if arm not in ARMS:
            raise unknown_name("arm", arm, list(ARMS))
        pool = replace(patient(PoolSettings(max_size=size, min_size=min(size, 5))), acquire_timeout_s=_POOL_WAIT_S)
        return Opening(arm, f"pool-{size}", replace(stack, settings=replace(stack.settings, pool=pool)))

    def require_ready(self) -> None:
        """Nothing is needed that the lab does not bring."""

    @contextmanager
    def prepare(
        self, stack: Stack, rows: Rows, purpose: str, arms: Collection[str], loading: Loading
    ) -> Iterator[PreparedCards]:
        """Control and treatment always, as everything compares them; index set v2 where an arm is on it."""
        portfolio = choose_portfolio(rows.size, rows.seed, rows.files.get("inventory"), rows.files.get("relationships"))
        try:
            with alone_with_base(stack):
                with loading.work("load") as tell:
                    base = ensure_base(stack, portfolio, tell)
                with loading.work("migrate") as tell:
                    wanted = upto(*(ARMS[arm].database for arm in arms))
                    urls = make_arms(stack, base, purpose, lambda name, done, total: tell(done / total), wanted)
            yield PreparedCards(stack, base, urls, rows)
        finally:
            drop_arms(stack, purpose)

    def rows_exist(self, url: str) -> int:
        """How many cards a running card service has. Raises LabError where a load would measure nothing."""
        shown = mask_secrets(url)
        try:
            answer = request(url, "GET", "/api/v1/cards?pageSize=1")
            if answer.status_code != 200:
                raise LabError(
                    f"{shown} answers {answer.status_code} to /api/v1/cards: not a card service, or not in order"
                )
            body = json.loads(answer.content)
            cards, held = int(body["total"]), bool(body["data"])
        except httpx.HTTPError as error:
            raise LabError(f"cannot reach {shown} ({error}); start it, or correct --host") from None
        except (ValueError, KeyError, TypeError):
            raise LabError(f"{shown} answers /api/v1/cards otherwise than the Arc Zero API; correct --host") from None
        if not held:
            raise LabError(f"{shown} holds no card: load an inventory first")
        return cards
