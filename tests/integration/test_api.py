"""The API over HTTP: the contract's forms, preconditions, guards, counters over two workers; never a 500."""

from __future__ import annotations

import importlib.metadata
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error

from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.services import Serving, start_service

JSON_LINES = {"content-type": "application/x-ndjson"}


UNKNOWN = uuid.UUID(int=1)
"""No card has it; the same in every process, so that the suite may be split over several."""

CARD = {"type": "Application", "lifecyclePhase": "Active", "qualityScore": 60, "tags": ["a"], "attributes": {"k": 1}}


def _create(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/cards", json={**CARD, "name": f"Card {uuid.uuid4()}", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/cards/{made['id']}"
    return made


def test_a_card_lives_through_all_its_methods(client: httpx.Client) -> None:
    made = _create(client)
    path = f"/api/v1/cards/{made['id']}"
    read = client.get(path)
    assert read.json() == made
    assert read.headers["content-type"] == "application/json"
    assert client.get(path, headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    changed = client.put(path, json={"qualityScore": 61}, headers={"If-Match": read.headers["etag"]})
    assert changed.json()["qualityScore"] == 61
    assert client.put(path, json={"qualityScore": 1}, headers={"If-Match": read.headers["etag"]}).status_code == 412
    assert client.delete(path, headers={"If-Match": '"nonsense"'}).status_code == 412
    for _ in range(4):  # both workers
        assert client.get(path, headers={"If-None-Match": read.headers["etag"]}).json()["qualityScore"] == 61
    gone = client.delete(path, headers={"If-Match": changed.headers["etag"]})
    assert (gone.status_code, gone.content) == (204, b"")
    assert client.get(path).status_code == 404


def test_lists_have_the_contracts_form(client: httpx.Client) -> None:
    answer = client.get("/api/v1/cards", params={"pageSize": 3, "type": "Application"}).json()
    assert set(answer) == {"data", "total", "totalRelation", "page", "page_size", "nextCursor"}
    assert (answer["page"], answer["page_size"], len(answer["data"])) == (1, 3, 3)
    further = client.get("/api/v1/cards", params={"pageSize": 3, "type": "Application", "cursor": answer["nextCursor"]})
    second = client.get("/api/v1/cards", params={"pageSize": 3, "type": "Application", "page": 2})
    assert further.json()["data"] == second.json()["data"]
    found = client.get("/api/v1/search", params={"q": "platform"}).json()
    assert found["total"] == client.get("/api/v1/cards", params={"q": "platform"}).json()["total"] > 0


def test_relationships_and_graph_over_http(client: httpx.Client) -> None:
    one, two = _create(client)["id"], _create(client)["id"]
    draft = {"fromCardId": one, "toCardId": two, "relationshipType": "reliesOn", "validFrom": "2026-01-02"}
    made = client.post("/api/v1/relationships", json=draft)
    assert made.status_code == 201
    path = f"/api/v1/relationships/{made.json()['id']}"
    assert client.get(path).json() == made.json()
    assert client.get("/api/v1/relationships", params={"card_id": two}).json()["total"] == 1
    assert client.put(path, json={"confidence": 0.25}).json()["confidence"] == 0.25
    graph = client.get("/api/v1/graph", params={"center_card_id": one, "depth": 2}).json()
    assert [node["depth"] for node in graph["nodes"]] == [0, 1]
    assert client.get("/api/v1/graph/stats").json()["cards"] > 0
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/api/v1/cards/nonsense", None, 400, "id"),
        ("GET", f"/api/v1/cards/{UNKNOWN}", None, 404, None),
        ("GET", "/api/v1/nothing", None, 404, None),
        ("PATCH", "/api/v1/cards", None, 405, None),
        ("GET", "/api/v1/cards?type=Gadget", None, 400, "type"),
        ("GET", "/api/v1/cards?page=0", None, 400, "page"),
        ("GET", "/api/v1/cards?pageSize=101", None, 400, "pageSize"),
        ("GET", "/api/v1/cards?page=99999999999999999999", None, 400, "page"),
        ("GET", "/api/v1/cards?minQuality=x", None, 400, "minQuality"),
        ("GET", "/api/v1/cards?attributes=[1]", None, 400, "attributes"),
        ("GET", "/api/v1/cards?cursor=abc", None, 400, "cursor"),
        ("GET", "/api/v1/cards?q=%00", None, 422, None),
        ("GET", "/api/v1/cards?ownerId=1", None, 400, "ownerId"),
        ("GET", "/api/v1/search", None, 400, "q"),
        ("GET", "/api/v1/search?q=", None, 400, "q"),
        ("GET", "/api/v1/graph", None, 400, "center_card_id"),
        ("GET", f"/api/v1/graph?center_card_id={UNKNOWN}", None, 404, None),
        ("GET", f"/api/v1/graph?center_card_id={UNKNOWN}&depth=6", None, 400, "depth"),
        ("POST", "/api/v1/cards", b"{", 400, None),
        ("POST", "/api/v1/cards", b"", 400, None),
        ("POST", "/api/v1/cards", b"[" * 100_000, 400, None),
        ("POST", "/api/v1/cards", b'{"name":"\\ud800","type":"Risk"}', 400, None),
        ("POST", "/api/v1/cards", b'{"name":"x","type":"Gadget"}', 422, "type"),
        ("POST", "/api/v1/cards", b'{"name":"","type":"Risk"}', 422, "name"),
        ("POST", "/api/v1/cards", b'{"name":"x\\u0000","type":"Risk"}', 422, "name"),
        ("POST", "/api/v1/cards", b'{"name":"x","type":"Risk","colour":1}', 422, None),
        ("POST", "/api/v1/cards", b'{"name":"x","type":"Risk","qualityScore":1e999}', 400, None),
        ("POST", "/api/v1/cards", b'{"name":"x","type":"Risk","attributes":{"a":"\\u0000"}}', 422, None),
        ("POST", "/api/v1/cards", b'{"name":"x","type":"Risk","attributes":{"a":1e999999}}', 400, None),
        ("POST", "/api/v1/cards", b" " * (1024 * 1024 + 1), 413, None),
        ("PUT", f"/api/v1/cards/{UNKNOWN}", b'{"qualityScore":1}', 404, None),
        ("POST", "/api/v1/relationships", b'{"fromCardId":"x"}', 422, "fromCardId"),
        ("POST", "/api/v1/import", b'{"name":"a","type":"Risk"}\n{"name":"b"}', 422, None),
    ],
)
def test_what_the_api_does_not_take_is_a_4xx_in_the_contracts_form(
    client: httpx.Client, method: str, path: str, body: bytes | None, status: int, field: str | None
) -> None:
    kind = "application/x-ndjson" if path.endswith("/import") else "application/json"
    answer = client.request(method, path, content=body, headers={"content-type": kind} if body else {})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"]
    assert error["message"]
    if field is not None:
        assert error["field"] == field


def test_head_is_answered_wherever_get_is(client: httpx.Client) -> None:
    card = _create(client)
    for path in (f"/api/v1/cards/{card['id']}", "/api/v1/cards", "/api/v1/health", "/metrics", "/api/v1/graph/stats"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
    assert client.head(f"/api/v1/cards/{UNKNOWN}").status_code == 404


def test_the_same_type_and_name_is_a_409_and_an_unknown_end_a_422(client: httpx.Client) -> None:
    made = _create(client)
    assert client.post("/api/v1/cards", json={**CARD, "name": made["name"]}).status_code == 409
    draft = {"fromCardId": made["id"], "toCardId": str(uuid.uuid4()), "relationshipType": "guides"}
    assert client.post("/api/v1/relationships", json=draft).json()["error"]["code"] == "invalid_reference"


def test_an_import_names_the_wrong_line_and_loads_nothing(client: httpx.Client) -> None:
    word = uuid.uuid4().hex
    lines = [json.dumps({"name": f"{word} {i}", "type": "Risk"}) for i in range(5)]
    wrong = client.post(
        "/api/v1/import", content="\n".join([*lines, '{"name": "x", "type": "Gadget"}']), headers=JSON_LINES
    )
    assert wrong.status_code == 422
    assert "line 6: field type" in wrong.json()["error"]["message"]
    assert client.get("/api/v1/search", params={"q": word}).json()["total"] == 0
    assert client.post("/api/v1/import", content="\n".join(lines), headers=JSON_LINES).json() == {"imported": 5}
    assert client.get("/api/v1/search", params={"q": word}).json()["total"] == 5
    table = f"name,type,tags\n{word} csv,Risk,a;b\n"
    sent = client.post("/api/v1/import", content=table, headers={"content-type": "text/csv"})
    assert sent.json() == {"imported": 1}
    assert client.post("/api/v1/import", content="x", headers={"content-type": "image/png"}).status_code == 415


def test_counters_add_up_over_worker_processes_and_begin_anew_on_reset(client: httpx.Client) -> None:
    path = f"/api/v1/cards/{_create(client)['id']}"
    client.post("/api/v1/cache/flush")
    client.post("/api/v1/cache/stats/reset")
    # each request on a connection of its own, so that both workers answer
    for _ in range(40):
        assert httpx.get(str(client.base_url) + path, timeout=30).status_code == 200
    stats = client.get("/api/v1/cache/stats").json()
    assert stats["enabled"] is True
    assert stats["by_kind"]["card"]["hits"] == 39
    assert stats["by_kind"]["card"]["misses"] == 1
    assert stats["hit_rate"] == pytest.approx(39 / 40)
    assert stats["round_trips"] >= 3, "a miss: a look, a lease and a fill"
    client.post("/api/v1/cache/stats/reset")
    again = client.get("/api/v1/cache/stats").json()
    assert again["hit_rate"] is None
    assert again["round_trips"] < stats["round_trips"]


def test_health_metrics_and_openapi_answer(client: httpx.Client) -> None:
    assert client.get("/api/v1/health").json() == {"status": "ok", "database": "ok", "cache": "ok"}
    health = client.get("/api/v1/cache/health").json()
    assert health["status"] == "healthy"
    assert health["used_memory_bytes"] > 0
    metrics = client.get("/metrics").text
    assert f'archzero_build_info{{version="{importlib.metadata.version("archzero-lab")}"}} 1.0' in metrics
    for name in ("archzero_cache_operations_total", "archzero_pool_acquire_wait_seconds_bucket",
                 "archzero_database_statements_total", "archzero_cache_call_seconds_bucket"):  # fmt: skip
        assert name in metrics
    paths = client.get("/api-docs/openapi.json").json()["paths"]
    assert {"/api/v1/cards", "/api/v1/cards/{card_id}", "/api/v1/search", "/api/v1/graph", "/api/v1/import"} <= set(
        paths
    )


def test_the_dashboard_asks_only_for_metrics_that_there_are(client: httpx.Client) -> None:
    text = (ROOT / "docs" / "grafana-dashboard.json").read_text()
    exposed = {line.split("{")[0].split(" ")[0] for line in client.get("/metrics").text.splitlines()}
    asked = set(re.findall(r"archzero_[a-z_]+", text))
    assert len(asked) >= 5
    assert asked <= exposed


def test_a_question_asked_again_is_answered_the_same_by_the_short_way(client: httpx.Client) -> None:
    for path in (
        "/api/v1/cards?type=Risk&pageSize=2",
        "/api/v1/search?q=platform",
        f"/api/v1/cards/{_create(client)['id']}",
    ):
        first = client.get(path)
        for _ in range(4):
            again = client.get(path)
            assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
            assert again.headers["content-type"] == "application/json"
            assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
            assert client.get(path, headers={"Cache-Control": "no-cache"}).content == first.content


def test_warm_loads_what_is_asked_for_most_and_says_so(client: httpx.Client) -> None:
    card = _create(client)["id"]
    for _ in range(5):
        client.get(f"/api/v1/cards/{card}")
    client.get("/api/v1/search", params={"q": "ledger"})
    answer = client.post("/api/v1/cache/warm")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["status"] == "warmed"
    assert told["complete"] is True
    assert told["loaded"]["cards"] >= 1
    assert told["loaded"]["lists"] >= 10
    assert told["total"] == sum(told["loaded"].values())
    client.post("/api/v1/cache/stats/reset")
    client.get("/api/v1/cards")
    client.get(f"/api/v1/cards/{card}")
    stats = client.get("/api/v1/cache/stats").json()
    assert (stats["hits"], stats["misses"]) == (2, 0)


@pytest.mark.parametrize("sign", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP", "CF-Ray"])
def test_flush_and_reset_refuse_what_came_through_a_proxy(client: httpx.Client, sign: str) -> None:
    for path in ("/api/v1/cache/flush", "/api/v1/cache/stats/reset", "/api/v1/cache/warm"):
        answer = client.post(path, headers={sign: "203.0.113.9"})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden"


@pytest.fixture(scope="module")
def guarded(stack: Stack, database_url: str) -> Iterator[httpx.Client]:
    """A service with an admin token and without a cache."""
    with_token = replace(stack, settings=replace(stack.settings, admin_token="t0ken"))
    service = start_service(with_token, Serving("control", database_url, cached=False))
    with httpx.Client(base_url=service.url, timeout=30) as made:
        yield made
    stack.registry.stop(service.record)


def test_an_admin_token_is_asked_for_when_one_is_set(guarded: httpx.Client) -> None:
    assert guarded.post("/api/v1/cache/flush").status_code == 401
    assert guarded.post("/api/v1/cache/flush", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert guarded.post("/api/v1/cache/flush", headers={"Authorization": "Bearer t0ken"}).status_code == 200


def test_a_service_without_cache_is_the_same_api(guarded: httpx.Client) -> None:
    made = _create(guarded)
    assert guarded.get(f"/api/v1/cards/{made['id']}").json() == made
    assert guarded.get("/api/v1/cache/health").json() == {"status": "off"}
    assert guarded.get("/api/v1/cache/stats").json()["hit_rate"] is None
    assert guarded.get("/api/v1/health").json()["cache"] == "off"


def test_random_requests_by_the_openapi_page_never_get_a_500(client: httpx.Client) -> None:
    import hypothesis

    schema = schemathesis.openapi.from_url(f"{client.base_url}/api-docs/openapi.json")
    tried: Counter[str] = Counter()
    wanted = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.startswith(("/api/v1/cache", "/metrics")):
            continue
        wanted.add(operation.label)

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(max_examples=25, deadline=None, database=None,
                             suppress_health_check=[hypothesis.HealthCheck.too_slow])  # fmt: skip
        def run(case: Any) -> None:
            tried[case.operation.label] += 1
            case.call_and_validate(base_url=str(client.base_url), checks=[not_a_server_error], timeout=30)

        run()
    assert {"GET /api/v1/cards", "POST /api/v1/cards"} <= wanted
    assert set(tried) == wanted
    assert tried.total() > 100
