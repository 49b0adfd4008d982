"""Drafts of archzero.toml: what comes of an OpenAPI document, a HAR and access logs can be read and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.jobs.drafts.draft import draft
from archzero_lab.systems.team.project_file import Project, read_project
from archzero_lab.systems.team.requests import Requests, read_values

OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://shop.example/base"}],
    "components": {
        "securitySchemes": {"bearer": {"type": "http"}},
        "schemas": {"New": {"type": "object", "required": ["name", "price"], "properties": {
            "name": {"type": "string"}, "price": {"type": "integer", "minimum": 3}, "note": {"type": "string"}}}},
    },
    "paths": {
        "/healthz": {"get": {}},
        "/api/v1/things/{id}": {
            "parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}],
            "get": {"responses": {"200": {}}}, "delete": {"responses": {"204": {}}},
        },
        "/api/v1/things": {
            "get": {"parameters": [
                {"name": "kind", "in": "query", "required": True, "schema": {"enum": ["a", "b c"]}},
                {"name": "page", "in": "query", "schema": {"type": "integer"}}]},
            "post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}}},
                     "responses": {"201": {}}},
        },
    },
}  # fmt: skip


def read(tmp_path: Path, source: str, **how: Any) -> tuple[Project, str]:
    made = draft(source, folder=tmp_path, **how)
    path = tmp_path / "archzero.toml"
    path.write_text(made.text)
    return read_project(path), "; ".join(made.to_fill_in)


def test_an_openapi_document_gives_its_reads_and_leaves_what_writes_as_comments(tmp_path: Path) -> None:
    source = tmp_path / "openapi.json"
    source.write_text(json.dumps(OPENAPI))
    project, to_fill_in = read(tmp_path, str(source))
    assert {name: one.path for name, one in project.requests.items()} == {
        "things_by_id": "/api/v1/things/{id}", "things": "/api/v1/things?kind={kind}",
    }  # fmt: skip
    assert project.values == {"id": [1], "kind": ["a", "b c"]}
    assert (project.service.ready, project.arms["now"].url) == ("/healthz", "http://shop.example/base")
    assert "values of id" in to_fill_in
    assert "a token" in to_fill_in
    project, _ = read(tmp_path, str(source), writes=True)
    assert project.requests["post_things"].json == {"name": "x {n}", "price": 3}
    assert project.requests["delete_things_by_id"].status == 204


def test_yaml_is_read_too_and_a_starter_makes_builds_the_arms(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    source = tmp_path / "openapi.yaml"
    source.write_text("openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n")
    project, _ = read(tmp_path, str(source))
    assert project.service.start == "./run.sh"
    assert {name: arm.build for name, arm in project.arms.items()} == {"main": "main", "branch": "."}


LOGS = {
    "combined": '10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] "GET {} HTTP/1.1" 200 2326 "-" "curl"',
    "uvicorn": 'INFO:     127.0.0.1:5000 - "GET {} HTTP/1.1" 200 OK',
    "nginx": '{{"time":"x","request":"GET {} HTTP/1.1","status":"200"}}',
    "ours": '{{"time": 1.0, "method": "GET", "path": "{}", "status": 200}}',
}


@pytest.mark.parametrize("form", LOGS)
def test_a_log_becomes_kinds_of_request_with_their_weights_and_commonest_values_first(
    tmp_path: Path, form: str
) -> None:
    paths = ["/things/7?full=1", "/things/7?full=1", "/things/8?full=1", "/search?q=red+lamp&page=2", "/app.css"]
    source = tmp_path / "access.log"
    source.write_text("\n".join(LOGS[form].format(path) for path in paths))
    project, _ = read(tmp_path, str(source))
    assert {name: (one.path, one.weight) for name, one in project.requests.items()} == {
        "things_by_things_id": ("/things/{things_id}?full=1", 3), "search": ("/search?page=2&q=red%20lamp", 1),
    }  # fmt: skip
    values = read_values(project, "")
    assert values == {"things_id": ["7", "8"]}
    requests = Requests(project, values)
    for kind in project.requests:
        for operation in requests.slot(kind, distinct=5, requests=1, seed=1, block=0).warm_up:
            assert operation.path in {"/things/7?full=1", "/things/8?full=1", "/search?page=2&q=red%20lamp"}


def test_things_asked_for_in_a_form_are_one_kind_and_like_values_one_list(tmp_path: Path) -> None:
    uuid = "0f9d3c1e-8a53-4a0e-9d3c-1e8a534a0e9d"
    paths = [f"/things/{name}.json" for name in ("1", "23", uuid)] + [
        f"/{what}?kind={kind}" for what in ("list", "export", "other") for kind in ("a", "b")
    ]
    paths[-1] = "/other?kind=c"
    source = tmp_path / "access.log"
    source.write_text("\n".join(LOGS["uvicorn"].format(path) for path in paths))
    project, _ = read(tmp_path, str(source))
    assert sorted(one.path for one in project.requests.values()) == [
        "/export?kind={kind}", "/list?kind={kind}", "/other?kind={kind_2}", "/things/{things_id}.json",
    ]  # fmt: skip
    assert read_values(project, "") == {"things_id": ["1", "23", uuid], "kind": ["a", "b"], "kind_2": ["a", "c"]}


def test_a_har_tells_address_bodies_and_statuses(tmp_path: Path) -> None:
    def entry(method: str, url: str, status: int, body: str | None = None) -> dict[str, Any]:
        return {"request": {"method": method, "url": url, "postData": {"text": body}}, "response": {"status": status}}

    source = tmp_path / "shop.har"
    entries = [
        entry("GET", "https://shop.example/things/1", 200), entry("GET", "https://shop.example/things/2", 200),
        entry("GET", "https://shop.example/app.js", 200), entry("GET", "https://shop.example/gone", 404),
        entry("POST", "https://shop.example/things", 201, '{"name": "x"}'),
    ]  # fmt: skip
    form = {"mimeType": "application/x-www-form-urlencoded; charset=utf-8", "text": "user=me&password=hunter2&next="}
    login = {"method": "POST", "url": "https://shop.example/login", "postData": form}
    entries.append({"request": login, "response": {"status": 303}})
    source.write_text(json.dumps({"log": {"entries": entries}}))
    project, _ = read(tmp_path, str(source), writes=True)
    assert project.arms["now"].url == "https://shop.example"
    assert {name: one.status for name, one in project.requests.items()} == {
        "things_by_things_id": 200, "post_things": 201, "post_login": 303,
    }  # fmt: skip
    assert project.requests["post_things"].json == {"name": "x"}
    # what a browser recorded of a password is nothing to write into a file
    assert project.requests["post_login"].form == {"user": "me", "password": "FILL IN", "next": ""}


def test_two_places_of_one_path_are_drawn_by_themselves(tmp_path: Path) -> None:
    source = tmp_path / "access.log"
    paths = ["/friends/1/friends/1", "/friends/1/friends/2", "/friends/2/friends/1", "/blog/2024/05", "/blog/2025/05"]
    source.write_text("\n".join(LOGS["uvicorn"].format(path) for path in paths))
    project, _ = read(tmp_path, str(source))
    assert [one.path for one in project.requests.values()] == [
        "/friends/{friends_id}/friends/{friends_id_2}", "/blog/{blog_id}/{blog_id_2}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.log", "nothing of that kind\n", "the log holds no request"),
        ("a.har", '{"log": {"entries": []}}', "the HAR holds no request"),
        ("openapi.json", '{"openapi": "3.0.0", "paths": {}}', "has no paths"),
        ("openapi.yaml", "openapi: [", "neither JSON nor YAML"),
        ("openapi.json", '{"openapi": "3.0.0", "paths": {"/x": {"post": {}}}}', "every request of it writes"),
    ],
)
def test_what_gives_no_request_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    source = tmp_path / name
    source.write_text(text)
    with pytest.raises(SettingsError, match=told):
        draft(str(source), folder=tmp_path)


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name an OpenAPI document, a HAR or an access log"):
        draft(str(tmp_path / "none"))
    with pytest.raises(LabError, match=r"cannot reach http://127\.0\.0\.1:9"):
        draft("http://127.0.0.1:9/openapi.json")
