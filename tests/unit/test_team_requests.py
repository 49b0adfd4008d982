"""A team's requests and answers: drawn alike for every arm, compared as the file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.errors import SettingsError
from archzero_lab.systems.operations import Operation
from archzero_lab.systems.team.answers import AnswersSeen, counted, first_difference
from archzero_lab.systems.team.prepared import cookies_of
from archzero_lab.systems.team.project_file import read_project
from archzero_lab.systems.team.requests import Requests, read_values
from archzero_lab.systems.team.system import TeamSystem

FILE = """
[service]
headers = { X-Who = "$WHO" }
[requests.search]
path = "/search?q={word}"
[requests.add]
method = "POST"
path = "/things/{word}"
json = { name = "thing {n}", number = "{n}", tags = ["{word}"] }
status = 201
[values]
word = ["a b", "c/d", "e"]
lines = { file = "words.txt" }
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setenv("WHO", "me")
    path = tmp_path / "archzero.toml"
    path.write_text(FILE)
    (tmp_path / "words.txt").write_text("one\ntwo\n\n")
    project = read_project(path)
    values = read_values(project, "")
    assert values["lines"] == ["one", "two"]
    return Requests(project, values)


def test_a_block_asks_every_arm_the_same_and_another_block_something_else(requests: Requests) -> None:
    first, again = (requests.slot("search", distinct=3, requests=30, seed=1, block=2) for _ in range(2))
    assert first == again
    assert first.timed != requests.slot("search", distinct=3, requests=30, seed=1, block=3).timed
    counts = [first.timed.count(operation) for operation in first.warm_up]
    assert sum(counts) == 30
    assert max(counts) - min(counts) <= 1


def test_values_are_encoded_in_a_path_and_headers_come_from_the_environment(requests: Requests) -> None:
    asked = {operation.path for operation in requests.slot("search", distinct=9, requests=1, seed=1, block=0).warm_up}
    assert asked <= {"/search?q=a%20b", "/search?q=c%2Fd", "/search?q=e"}
    (operation, *_) = requests.slot("search", distinct=1, requests=1, seed=1, block=0).timed
    assert operation.headers == (("X-Who", "me"),)


def test_what_writes_is_new_each_time_and_a_number_alone_stays_one(requests: Requests) -> None:
    slot = requests.slot("add", distinct=1, requests=20, seed=1, block=4)
    bodies = [json.loads(operation.body) for operation in (*slot.warm_up, *slot.timed)]
    assert len({body["number"] for body in bodies}) == 22
    assert all(body["name"] == f"thing {body['number']}" for body in bodies)
    assert {body["tags"][0] for body in bodies} <= {"a b", "c/d", "e"}
    assert slot.timed[0].status == 201


def test_values_that_come_to_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "archzero.toml"
    path.write_text('[requests.x]\npath = "/{w}"\n[values]\nw = { file = "no.txt" }\n')
    with pytest.raises(SettingsError, match=r"values.w: .*no.txt cannot be read"):
        read_values(read_project(path), "")
    (tmp_path / "no.txt").write_text("\n")
    with pytest.raises(SettingsError, match=r"values\.w came to no value: no\.txt"):
        read_values(read_project(path), "")
    path.write_text('[requests.x]\npath = "/{w}"\n[values]\nw = { sql = "SELECT 1" }\n')
    with pytest.raises(SettingsError, match=r"asked by SQL, and there is no \[database\]"):
        read_values(read_project(path), "")


@pytest.mark.parametrize(
    ("rule", "one", "other", "told"),
    [
        ("body", b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}', None),
        ("body", b'{"items": [1, 2]}', b'{"items": []}', "items: 2 entries against none"),
        ("body", b'{"a": {"b": 1}}', b'{"a": {"b": 2}}', "a.b: 1 against 2"),
        ("body", b'{"a": 1}', b"{}", "a is missing in the second"),
        ("body", b'{"a": 1}', b'{"a": true}', "a: 1 against true"),
        ("body", b"x", b"y", "the answer: x against y"),
        ("json:items[*].id", b'{"items": [{"id": 1, "at": 5}]}', b'{"items": [{"id": 1, "at": 6}]}', None),
        ("json:items[*].id", b'{"items": [{"id": 1}]}', b'{"items": [{"id": 2}]}', "[0]: 1 against 2"),
        ("unordered", b'{"a": [{"b": 1, "c": 2}, 3]}', b'{"a": [3, {"c": 2, "b": 1}]}', None),
        ("unordered", b'{"a": [1, 1, 2]}', b'{"a": [1, 2, 2]}', "a[1]: 1 against 2"),
        ("status", b"x", b"y", None),
    ],
)
def test_answers_are_compared_as_the_file_says(rule: str, one: bytes, other: bytes, told: str | None) -> None:
    assert first_difference(counted(rule, one), counted(rule, other)) == told


@given(JSON, JSON)
def test_a_difference_is_found_exactly_where_there_is_one(one: Any, other: Any) -> None:
    assert first_difference(one, json.loads(json.dumps(one))) is None
    alike = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (first_difference(one, other) is None) == alike


def test_what_two_arms_answered_to_the_same_operation_is_held_against_each_other() -> None:
    seen = AnswersSeen({"search": "body", "free": "none"})
    operation = Operation("/search?q=a", "search")
    seen.note("main", operation, 200, b'{"items": [1]}')
    seen.note("main", operation, 200, b'{"items": [2]}')
    assert not seen.differences
    seen.note("branch", operation, 200, b'{"items": []}')
    assert seen.differences == {"search": ["GET /search?q=a: main and branch differ: items: 1 entry against none"]}
    listed = Operation("/list", "list")
    seen.note("main", listed, 200, b"[1, 2]")
    seen.note("branch", listed, 200, b"[2, 1]")
    assert 'the same in another order, which same = "unordered" takes' in seen.differences.pop("list")[0]
    seen.note("main", Operation("/free", "free"), 200, b"1")
    seen.note("branch", Operation("/free", "free"), 200, b"2")
    assert list(seen.differences) == ["search", "list"]


@pytest.mark.parametrize(
    ("sent", "body", "kind"),
    [
        (
            'form = { user = "me", password = "$SECRET" }', b"user=me&password=a%26b+%C3%BC",
            "application/x-www-form-urlencoded",
        ),
        (
            'json = { user = "me", password = "${SECRET}" }', rb'{"user": "me", "password": "a&b \u00fc"}',
            "application/json",
        ),
        ('body = "me:$SECRET"', "me:a&b ü".encode(), None),
        ('json = { query = "q($$user) {n}", at = "${SECRET}{n}" }', b'{"query": "q($user) 2", "at": "a&b \\u00fc2"}',
         "application/json"),
    ],
)  # fmt: skip
def test_what_a_login_sends_is_filled_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str, body: bytes, kind: str | None
) -> None:
    monkeypatch.setenv("SECRET", "a&b ü")
    path = tmp_path / "archzero.toml"
    path.write_text(
        f'[service]\nlogin = "enter"\n[requests.enter]\nmethod = "POST"\npath = "/enter"\n{sent}\n'
        '[arms.a]\nurl = "http://127.0.0.1:1"\n[arms.b]\nurl = "http://127.0.0.1:2"\n'
    )
    project = read_project(path)
    (entered,) = Requests(project, {}).slot("enter", distinct=1, requests=1, seed=1, block=0).timed
    assert entered.body == body
    assert dict(entered.headers).get("Content-Type") == kind
    monkeypatch.delenv("SECRET")
    with pytest.raises(SettingsError, match=r"\[requests.enter\] names \$SECRET, which is not set"):
        TeamSystem(project).require_ready()


def test_what_other_requests_send_stays_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "archzero.toml"
    path.write_text('[requests.add]\nmethod = "POST"\npath = "/add"\nbody = "$HOME $$ ${n}"\n')
    (added,) = Requests(read_project(path), {}).slot("add", distinct=1, requests=1, seed=1, block=0).timed
    assert added.body == b"$HOME $$ $2"


def test_the_cookies_of_a_login_are_those_that_it_set_as_it_wrote_them() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=AbC; Path=/; HttpOnly\r\nset-cookie: theme=dark\r\nX: y"
    assert cookies_of(head) == "sid=AbC; theme=dark"
