"""The service's own page: what can be asked of it."""

from __future__ import annotations

import re

import httpx
import pytest


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_says_what_can_be_asked_and_needs_no_script_and_no_network(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Host": "localhost:3000"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    for asked, methods in client.get("/api-docs/openapi.json").json()["paths"].items():
        assert answer.text.count(f"<code>{asked}</code>") == len(methods)
    assert "<script" not in answer.text
    assert set(re.findall(r"https?://[^\s<\"]+", answer.text)) == {"http://localhost:3000/api/v1/cards?pageSize=2"}
    for link in re.findall(r'href="([^"]+)"', answer.text):
        assert client.get(link).status_code == 200
