"""Prometheus beside a service: its rules do what they are named after, and the dashboard's every question has data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from archzero_lab.bootstrap.exporter import Servers
from archzero_lab.bootstrap.observers import end_observers, start_observers
from archzero_lab.servers.prometheus import RULES, prometheus_program
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.services import Serving, start_service, urls_of_replicas
from tests.integration.replicated_cards import Cluster, card_cluster

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None and "ARCHZERO_PROMETHEUS" not in os.environ, reason="no Prometheus here"
)
"""Named in CI, so that these fail where it is not there and are never passed over."""


@needs_prometheus
def test_each_alert_fires_for_what_it_is_named_after_and_for_nothing_else(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("prometheus_rules_test.yml"), tmp_path)
    done = subprocess.run(
        [prometheus_program("promtool"), "test", "rules", "prometheus_rules_test.yml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Iterator[Cluster]:
    with card_cluster(stack, 1) as made:
        yield made


@pytest.fixture(scope="module")
def seen(cluster: Cluster) -> Iterator[str]:
    """The URL of a Prometheus that looks on while a service on a replica is read and written."""
    kept = {"replica1": {"url": cluster.servers.replicas[0].url}}
    replicas = urls_of_replicas(cluster.stack, cluster.url, kept)
    service = start_service(cluster.stack, Serving("observed", cluster.url, cached=True, replicas=replicas, workers=2))
    try:
        told = start_observers(cluster.stack, service.url, cluster.url, every="1s")
        with httpx.Client(base_url=service.url, timeout=30) as client:
            for number in range(12):
                made = client.post("/api/v1/cards", json={"name": f"observed {number}", "type": "Risk"})
                assert made.status_code == 201
                assert len(made.headers["Archzero-Position"]) == 40
                place = {"Archzero-Position": made.headers["Archzero-Position"]}
                card = made.headers["Location"]
                for path in (card, "/api/v1/cards", "/api/v1/search?q=observed", card, "/api/v1/cards",
                             f"/api/v1/graph?center_card_id={card.rpartition('/')[2]}&depth=1"):  # fmt: skip
                    assert client.get(path, headers=place).status_code == 200
                time.sleep(0.25)  # a rate needs samples of several scrapes
            health = client.get("/api/v1/health").json()
            assert [server["role"] for server in health["servers"]] == ["primary", "replica"]
            wrong = client.get("/api/v1/cards", headers={"Archzero-Position": "0" * 39 + "g"})
            assert (wrong.status_code, wrong.json()["error"]["field"]) == (400, "Archzero-Position")
            yield told["url"]
    finally:
        end_observers(cluster.stack.registry)
        cluster.stack.registry.stop(service.record)


def _ask(url: str, question: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": question}, timeout=10, trust_env=False).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@needs_prometheus
def test_every_question_of_the_dashboard_and_every_recorded_rule_has_data(seen: str) -> None:
    panels = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())["panels"]
    questions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = httpx.get(f"{seen}/api/v1/rules", timeout=10, trust_env=False).json()["data"]["groups"][0]["rules"]
    questions += [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert len(questions) > 15
    deadline = time.monotonic() + 60
    left = questions
    while left and time.monotonic() < deadline:
        time.sleep(0.5)  # polling until Prometheus has scraped often enough for a rate
        left = [question for question in left if not _ask(seen, question)]
    assert left == []


@needs_prometheus
def test_both_servers_tell_of_themselves_and_no_alert_is_on(seen: str) -> None:
    assert {one["metric"]["job"]: one["value"][1] for one in _ask(seen, "up")} == {"service": "1", "servers": "1"}
    deadline = time.monotonic() + 60
    for name in ("pg_up", "redis_up", "archzero_cache_licensed"):
        while {one["value"][1] for one in _ask(seen, name)} != {"1"}:
            assert time.monotonic() < deadline, name
            time.sleep(0.5)  # a busy machine may have taken the licence for a moment
    assert _ask(seen, "pg_stat_replication_pg_wal_lsn_diff")
    assert _ask(seen, "redis_memory_used_bytes")
    assert len(_ask(seen, "archzero_replica_lag_seconds")) == 2
    assert _ask(seen, 'ALERTS{alertstate="firing"}') == []


def test_a_server_that_is_away_is_told_and_costs_the_other_nothing(stack: Stack) -> None:
    nobody = Servers("postgresql://nobody@127.0.0.1:1/nothing", stack.redis_url)
    told = {metric.name: metric for metric in nobody.collect()}
    assert told["pg_up"].samples[0].value == 0
    assert told["redis_up"].samples[0].value == 1
    other = {metric.name: metric for metric in Servers(stack.postgres_url, "redis://127.0.0.1:1").collect()}
    assert other["pg_up"].samples[0].value == 1
    assert other["redis_up"].samples[0].value == 0
    assert "pg_stat_database_xact_commit" in other
