"""HTTP as RFC 9110 has it, and answers that are true: what is taken is found again, what is ignored is said."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import threading
import time
import unicodedata
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.api.parameters import split
from archzero_lab.systems.arczero.cards.readings import read_text
from archzero_lab.systems.arczero.services import Serving, start_service

JSON_LINES = {"content-type": "application/x-ndjson"}
CARDS = "/api/v1/cards"
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))


def _named(**fields: Any) -> dict[str, Any]:
    return {"name": f"Form {uuid.uuid4()}", "type": "Risk", **fields}


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (CARDS, "GET, HEAD, OPTIONS, POST"),
        (f"{CARDS}/{uuid.UUID(int=1)}", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/api/v1/search", "GET, HEAD, OPTIONS"),
        ("/api/v1/import", "OPTIONS, POST"),
    ],
)
def test_options_and_a_wrong_method_are_told_what_there_is(client: httpx.Client, path: str, methods: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.headers["allow"]) == (204, methods)
    wrong = client.request("PATCH", path, json={})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, methods)


def test_a_compressed_body_is_refused_by_its_name(client: httpx.Client) -> None:
    body = gzip.compress(json.dumps(_named()).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = client.post(CARDS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (415, "Content-Encoding")


def test_lists_of_etags_may_stand_in_one_line_or_in_several(client: httpx.Client) -> None:
    made = client.post(CARDS, json=_named())
    path, etag = f"{CARDS}/{made.json()['id']}", made.headers["etag"]
    for lines in (['"other"', etag], [f'"other", {etag}'], [f"W/{etag}", '"x"']):
        asked = client.get(path, headers=[("If-None-Match", line) for line in lines])
        assert asked.status_code == 304, lines
    weak = client.put(path, json={"qualityScore": 1}, headers={"If-Match": f"W/{etag}"})
    assert weak.status_code == 412
    assert "-1" not in weak.json()["error"]["message"]
    done = client.put(path, json={"qualityScore": 2}, headers=[("If-Match", '"other"'), ("If-Match", etag)])
    assert done.json()["qualityScore"] == 2
    assert client.put(path, json={"qualityScore": 3}, headers={"If-Match": etag}).status_code == 412


def test_a_parameter_that_nothing_reads_is_named_or_refused(client: httpx.Client) -> None:
    asked = {"tag": "a", "min_quality": "50", "sort": "name", "pageSize": "3"}
    for _ in range(3):  # asked again, a question may be answered by another way
        answer = client.get(CARDS, params=asked)
        assert (answer.status_code, answer.headers["x-ignored-parameters"]) == (200, "tag, min_quality, sort")
    strict = client.get(CARDS, params={**asked, "strict": ""})
    assert (strict.status_code, strict.json()["error"]["field"]) == (400, "tag")
    assert "known: q, type, lifecyclePhase" in strict.json()["error"]["message"]
    card = client.get(CARDS, params={"pageSize": 1}).json()["data"][0]["id"]
    assert client.get(f"{CARDS}/{card}", params={"fields": "name"}).headers["x-ignored-parameters"] == "fields"
    known = client.get(CARDS, params={"pageSize": 3, "strict": ""})
    assert known.status_code == 200
    assert "x-ignored-parameters" not in known.headers
    assert "x-ignored-parameters" not in client.get(f"{CARDS}/{card}").headers


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tag=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64))
def test_a_tag_that_is_taken_is_found_by_a_question_for_it(client: httpx.Client, tag: str) -> None:
    made = client.post(CARDS, json=_named(tags=[tag]))
    if "," in tag or not read_text(tag) or len(read_text(tag)) > 64:
        assert made.status_code == 422 or len(unicodedata.normalize("NFC", tag)) > 64
        return
    assert made.status_code == 201, made.text
    assert made.json()["tags"] == split([read_text(tag)])
    found = client.get(CARDS, params={"tags": tag, "pageSize": 100}).json()
    assert made.json()["id"] in [card["id"] for card in found["data"]]


def test_names_are_compared_as_people_read_them(client: httpx.Client) -> None:
    name = f"Größe {uuid.uuid4()}"
    assert client.post(CARDS, json=_named(name=f"  {unicodedata.normalize('NFD', name)} ")).json()["name"] == name
    assert client.post(CARDS, json=_named(name=name)).status_code == 409
    blank = client.post(CARDS, json=_named(name=" \t "))
    assert (blank.status_code, blank.json()["error"]["field"]) == (422, "name")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(
        st.datetimes(timezones=OFFSETS).map(dt.datetime.isoformat),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_every_time_that_is_taken_has_its_place_in_the_pages(client: httpx.Client, times: list[str]) -> None:
    owner, taken = str(uuid.uuid4()), []
    for at in [*times, "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+05:00"]:
        row = _named(ownerId=owner, createdAt=at)
        answer = client.post("/api/v1/import", content=json.dumps(row), headers=JSON_LINES)
        assert answer.status_code in (201, 422), answer.text
        taken += [row["name"]] if answer.status_code == 201 else []
    seen: list[str] = []
    asked: dict[str, Any] = {"ownerId": owner, "pageSize": 1}
    while True:
        page = client.get(CARDS, params=asked).json()
        seen += [card["name"] for card in page["data"]]
        assert len(seen) <= len(taken)
        if page.get("nextCursor") is None:
            break
        asked["cursor"] = page["nextCursor"]
    assert sorted(seen) == sorted(taken)


def test_more_tags_than_a_card_may_have_are_refused_before_any_question(client: httpx.Client) -> None:
    answer = client.get(CARDS, params={"tags": [f"t{number}" for number in range(51)]})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "tags")


def test_an_import_that_postgresql_refuses_names_key_and_row(client: httpx.Client) -> None:
    rows = [_named() for _ in range(3)]
    text = "\n".join(map(json.dumps, rows))
    assert client.post("/api/v1/import", content=text, headers=JSON_LINES).status_code == 201
    again = client.post("/api/v1/import", content=json.dumps(_named()) + "\n" + text, headers=JSON_LINES)
    assert again.status_code == 409
    assert f"Risk, {rows[0]['name']} (row 2)" in again.json()["error"]["message"]
    missing = str(uuid.uuid4())
    card = client.get(CARDS, params={"pageSize": 1}).json()["data"][0]["id"]
    joined = {"fromCardId": card, "toCardId": missing, "relationshipType": "guides"}
    answer = client.post("/api/v1/import?kind=relationships", content=json.dumps(joined), headers=JSON_LINES)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        422,
        f"toCardId is not the id of a card: {missing}",
    )


@pytest.fixture
def waiting_client(stack: Stack, database_url: str) -> Iterator[httpx.Client]:
    """Of a service whose statements look for a deadlock after five seconds, and wait longer than that."""
    late = f"{database_url}&options=-c%20deadlock_timeout%3D5s"
    service = start_service(stack, Serving("deadlock", late, cached=False, patient=True))
    with httpx.Client(base_url=service.url, timeout=60) as made:
        yield made
    stack.registry.stop(service.record)


def test_a_deadlock_is_no_outage(waiting_client: httpx.Client, database_url: str) -> None:
    """Two cards locked crosswise: PostgreSQL ends the service's statement, which is run again."""
    client = waiting_client
    first, second = (client.post(CARDS, json=_named()).json()["id"] for _ in range(2))
    put: list[int] = []
    with psycopg.connect(database_url) as other, psycopg.connect(database_url, autocommit=True) as watcher:
        watcher.execute(
            "CREATE FUNCTION takes_another() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" PERFORM FROM cards WHERE id = '{first}' FOR UPDATE; RETURN NULL; END $$;"
            "CREATE TRIGGER takes_another AFTER UPDATE ON cards FOR EACH ROW"
            f" WHEN (NEW.id = '{second}' AND NEW.quality_score = 5) EXECUTE FUNCTION takes_another()"
        )
        try:
            other.execute("SET deadlock_timeout = '60s'")  # not this session's statement is ended
            other.execute("SELECT FROM cards WHERE id = %s FOR UPDATE", [first])
            asking = threading.Thread(
                target=lambda: put.append(client.put(f"{CARDS}/{second}", json={"qualityScore": 5}).status_code)
            )
            asking.start()
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%UPDATE%%'"
            while watcher.execute(waiting).fetchone() == (0,):
                assert asking.is_alive()
                time.sleep(0.01)
            other.execute("UPDATE cards SET description = 'the other' WHERE id = %s", [second])
            other.commit()
            asking.join()
        finally:
            watcher.execute("DROP TRIGGER takes_another ON cards; DROP FUNCTION takes_another")
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        deadline = time.monotonic() + 90  # a session tells its counts when it is next idle
        while watcher.execute(counted).fetchone() == (0,):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert put == [200]
    card = client.get(f"{CARDS}/{second}").json()
    assert (card["description"], card["qualityScore"]) == ("the other", 5)


def test_a_relationship_to_itself_or_backwards_in_time_is_refused_by_field(client: httpx.Client) -> None:
    one, two = (card["id"] for card in client.get(CARDS, params={"pageSize": 2}).json()["data"])
    joined = {"fromCardId": one, "toCardId": two, "relationshipType": "guides"}
    for wrong, field in (
        ({"toCardId": one}, "toCardId"),
        ({"validFrom": "2026-02-01", "validTo": "2026-01-31"}, "validTo"),
    ):
        answer = client.post("/api/v1/relationships", json=joined | wrong)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text
        line = client.post("/api/v1/import?kind=relationships", content=json.dumps(joined | wrong), headers=JSON_LINES)
        assert line.status_code == 422
        assert f"line 1: field {field}" in line.json()["error"]["message"]
    made = client.post("/api/v1/relationships", json=joined | {"validFrom": "2026-02-01", "validTo": "2026-02-01"})
    assert made.status_code == 201
