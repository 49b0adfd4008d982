"""Requests that a browser sends for a page of somebody else's, and those of programs: who is let in."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from archzero_lab.systems.arczero.api.doorkeeper import Doorkeeper

OURS = {"host": "127.0.0.1:3000"}
JSON = {"content-type": "application/json"}


async def _application(scope: Any, receive: Any, send: Any) -> None:
    body = f"{scope['method']} came in".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _ask(method: str, path: str = "/api/v1/cards", headers: Any = OURS, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(Doorkeeper(_application, ["cards.example.org"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as client:
        return await client.request(method, path, headers=headers, **more)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:3000", "localhost:3000", "LOCALHOST", "[::1]:3000", "app.localhost", "192.0.2.7", "Cards.example.org"],
)
async def test_a_host_of_ours_is_answered(host: str) -> None:
    assert (await _ask("GET", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:3000", "localhost.evil.example", ""])
async def test_a_foreign_host_is_misdirected_for_reads_too(host: str) -> None:
    answer = await _ask("GET", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]["field"]) == (421, "Host")


async def test_two_hosts_are_no_host() -> None:
    assert (await _ask("GET", headers=[("host", "127.0.0.1"), ("host", "localhost")])).status_code == 400


@pytest.mark.parametrize(
    "told",
    [
        {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_page_of_another_origin_writes_nothing_and_may_read(told: dict[str, str], method: str) -> None:
    assert (await _ask(method, headers=OURS | told)).status_code == 403
    assert (await _ask("GET", headers=OURS | told)).status_code == 200


async def test_a_page_of_ours_and_a_program_write() -> None:
    own = OURS | {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}
    assert (await _ask("POST", headers=own | JSON, content="{}")).status_code == 200
    assert (await _ask("POST", headers=OURS | JSON, content="{}")).status_code == 200
    # the Arc Zero API's own line: curl -X POST http://localhost:3000/api/v1/cache/warm
    assert (await _ask("POST", "/api/v1/cache/warm", headers={"host": "localhost:3000"})).status_code == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_that_a_form_could_send_is_no_json(kind: str) -> None:
    headers = OURS | ({"content-type": kind} if kind else {})
    assert (await _ask("POST", headers=headers, content="{}")).status_code == 415


async def test_an_import_says_what_it_is_and_may_be_more_than_json() -> None:
    assert (await _ask("POST", "/api/v1/import", content="x")).status_code == 415
    assert (await _ask("POST", "/api/v1/import", OURS | {"content-type": "text/csv"}, content="x")).status_code == 200


async def test_head_is_get_without_the_body() -> None:
    answer = await _ask("HEAD")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "11")
