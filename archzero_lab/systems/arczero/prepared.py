"""Databases of cards made for one purpose, and the services opened on them: the card service as jobs see it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast

from archzero_lab.errors import MeasurementError
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.statement import Statement
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.arms import ARMS, ServiceArm
from archzero_lab.systems.arczero.cards.catalog import Catalog, read_catalog
from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.arczero.checks.registry import CHECKS
from archzero_lab.systems.arczero.hit_costs import LAYERS, hit_costs
from archzero_lab.systems.arczero.portfolios import Loaded
from archzero_lab.systems.arczero.services import Serving, index_set_of, start_services, url_of_service
from archzero_lab.systems.arczero.statements import list_statements
from archzero_lab.systems.arczero.traffic import slot_operations
from archzero_lab.systems.arczero.work import work_operations
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.checks import Tried
from archzero_lab.systems.http import call, metrics
from archzero_lab.systems.operations import Operation, SlotOperations
from archzero_lab.systems.system import Rows

_READING_TABLES = ["card_vocabulary", "card_counts", "card_changes", "card_words_gone"]
"""Tables of index set v2 that are there for reading alone."""
_CARDS, _DISTINCT = 5, 12
_CONTROLS = 50
_IMPORTED = 1_200  # more than the thousand changes after which the vocabulary is brought up to date


class PreparedCards:
    """Implements systems.system.Prepared over the card service."""

    def __init__(self, stack: Stack, loaded: Loaded, urls: Mapping[str, str], rows: Rows) -> None:
        self.urls = dict(urls)
        self.facts = {
            "size": loaded.cards, "label": loaded.label, "cards": loaded.cards, "relationships": loaded.relationships,
            "inventory": rows.files["inventory"].name if "inventory" in rows.files else None,
            "in_words": f"{loaded.cards:,} cards, {loaded.relationships:,} relationships"
                        f" ({rows.files['inventory'].name if 'inventory' in rows.files else 'generated'})",
        }  # fmt: skip
        self._stack = stack
        self._seed = rows.seed
        with connect(self.urls["control"]) as connection:
            self.catalog: Catalog = read_catalog(connection, rows.seed)
            related = connection.execute("SELECT id::text FROM relationships ORDER BY id LIMIT %s", [_CONTROLS])
            # by its primary key, which every arm has, and never cached: through all layers, and nothing differs
            self._control = [
                Operation(f"/api/v1/relationships/{row[0]}", "a relationship by its id", row[0].encode())
                for row in related
            ]

    @contextmanager
    def arms(self, *openings: Opening) -> Iterator[dict[str, Arm]]:
        """Services, up side by side. A cache in the process only where the arm is about it: it would hide Redis."""
        with ExitStack() as closing:
            services = start_services([self._serving(opening) for opening in openings])
            for service in services:
                closing.callback(self._stack.registry.stop, service.record)
            opened: dict[str, Arm] = {}
            for opening, service in zip(openings, services, strict=True):
                kind = ARMS[opening.arm]
                token = (opening.stack or self._stack).settings.admin_token
                url = self.urls[kind.database]
                arm = ServiceArm(opening.called, service, url, cached=kind.cached, admin_token=token)
                closing.callback(arm.close)
                opened[opening.called] = arm
            yield opened

    def _serving(self, opening: Opening) -> tuple[Stack, Serving]:
        kind, stack = ARMS[opening.arm], opening.stack or self._stack
        if not kind.near:
            stack = replace(stack, settings=replace(stack.settings, cache=replace(stack.settings.cache, near_bytes=0)))
        own = url_of_service(self._stack, self.urls[kind.database])
        return stack, Serving(
            opening.called, opening.through(own) if opening.through else own, cached=kind.cached,
            statements=kind.statements, index_set=index_set_of(kind.database), code=opening.code,
            # a pool that was chosen for this arm is what the experiment is about
            patient=stack.settings.pool == self._stack.settings.pool,
        )  # fmt: skip

    def operations(
        self, kind: str, *, distinct: int, requests: int, seed: int, block: int, paths: Sequence[str] = ()
    ) -> SlotOperations:
        """The operations of one block."""
        return slot_operations(
            kind, self.catalog, distinct=distinct, requests=requests, seed=seed, block=block, paths=paths,
            control=self._control,
        )  # fmt: skip

    def work(self, kind: str, requests: int, seed: int) -> SlotOperations:
        """Operations of one countable kind."""
        return work_operations(kind, self.catalog, requests, seed)

    def items(self) -> list[str]:
        """The path of every card, in order of their ids."""
        with connect(self.urls["control"]) as connection:
            return [f"/api/v1/cards/{row[0]}" for row in connection.execute("SELECT id FROM cards ORDER BY id")]

    def load_values(self, arms: Collection[str]) -> str:
        """The catalog as the load tests read it."""
        return json.dumps(self.catalog.as_dict())

    def load_environment(self, arm: Arm) -> dict[str, str]:
        """Nothing besides."""
        return {}

    def mix_counters(self, arm: Arm) -> dict[str, Any]:
        """The service's own: of its cache, of the statements that it sent, of its Redis' memory."""
        answers = [call(arm.url, "GET", f"/api/v1/cache/{what}") for what in ("stats", "health")]
        for status, counters in answers:
            if status != 200:
                raise MeasurementError(f"{arm.url} does not tell its cache's counters ({counters or status})")
        samples = metrics(arm.url)
        return {
            **answers[0][1], **answers[1][1], "statements": samples.get("archzero_database_statements_total", 0.0),
            "database_s": samples.get("archzero_database_statement_seconds_sum", 0.0),
        }  # fmt: skip

    def statements(self) -> list[Statement]:
        """Pages and counts, and what is asked about one card."""
        with connect(self.urls["control"]) as connection:
            return list_statements(connection, self.catalog)

    def unlike(self, arms: Mapping[str, Arm], kinds: Sequence[str]) -> dict[str, list[str]]:
        """Nothing: each answer is looked at while it is timed, and the arms' rows are copies of one base."""
        return {}

    def check(self, name: str, arm: Arm) -> Tried:
        """One of phase 5's claims that are no latency, tried."""
        mine = cast("ServiceArm", arm)
        return CHECKS[name](Bench(self._stack, mine.service, mine.database_url, self.catalog.ids))

    def hit_costs(self, arms: Mapping[str, Arm]) -> dict[str, dict[str, float]]:
        """Of a card and of a page of cards, over Redis; of servers that are not ours nothing is known."""
        if "treatment" not in arms or self._stack.redis_pid is None:
            return {}
        by_kind = {}
        for kind, distinct in (("detail", 50), ("list", 20)):
            operations = self.operations(kind, distinct=distinct, requests=1, seed=self._seed, block=0).warm_up
            costs = hit_costs(cast("ServiceArm", arms["treatment"]), self._stack.redis_pid, operations)
            if costs:
                by_kind[kind] = {name: costs[layer] for layer, name in LAYERS.items()}
        return by_kind

    def use_everything(self, arms: Mapping[str, Arm]) -> None:
        """Ask v2's service for everything that it answers, and import some cards, which stay.

        Raises MeasurementError for a wrong answer.
        """
        if "v2" not in arms:
            return
        url = arms["v2"].url
        paths = [
            operation.path
            for kind in ("list", "detail", "search", "filter")
            for operation in self.operations(kind, distinct=_DISTINCT, requests=1, seed=self._seed, block=0).warm_up
        ]
        for card_id in self.catalog.ids[:_CARDS]:
            paths += [f"/api/v1/relationships?card_id={card_id}", f"/api/v1/graph?center_card_id={card_id}&depth=2"]
        paths.append("/api/v1/search?q=qx")  # what no card or hardly one has is found by the words
        for path in paths:
            status, _ = call(url, "GET", path)
            if status != 200:
                raise MeasurementError(f"GET {url}{path} answered {status}; see .lab/logs")
        rows = [{"name": f"Imported {uuid.uuid4()}", "type": "Risk"} for _ in range(_IMPORTED)]
        status, _ = call(url, "POST", "/api/v1/import", "\n".join(json.dumps(row) for row in rows))
        if not 200 <= status < 300:
            raise MeasurementError(f"POST {url}/api/v1/import answered {status}; see .lab/logs")

    def tables_as_indexes(self) -> dict[str, int]:
        """What the tables weigh that index set v2 brings; none of the others' databases has any."""
        if "v2" not in self.urls:
            return {}
        with connect(self.urls["v2"]) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(pg_table_size(to_regclass(name))), 0) FROM unnest(%s::text[]) name",
                [_READING_TABLES],
            ).fetchone()
        return {"v2": int(row[0]) if row else 0}
