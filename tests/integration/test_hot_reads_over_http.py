"""A request is answered in the same bytes by the connection itself and around it, through parser and application."""

from __future__ import annotations

import re
import socket
import uuid
from urllib.parse import urlsplit

import httpx
import pytest

AROUND = b"TE: trailers\r\n"
"""A header that nobody acts on, and that a connection does not answer by itself."""


class Connection:
    """A connection to the service, in bytes."""

    def __init__(self, client: httpx.Client) -> None:
        place = urlsplit(str(client.base_url))
        assert place.hostname is not None
        self.host = f"{place.hostname}:{place.port}".encode()
        self._socket = socket.create_connection((place.hostname, place.port or 80), timeout=10)
        self._file = self._socket.makefile("rb")

    def ask(self, target: str, *lines: bytes, method: str = "GET", host: bytes | None = None) -> tuple[bytes, bytes]:
        """The head, without its date, and the body."""
        given = b"".join(line + b"\r\n" for line in (b"Host: " + (host or self.host), *lines))
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\n".encode() + given + b"\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            assert line, f"closed after {head!r}"
            head += line
        length = re.search(rb"content-length: (\d+)", head)
        bodiless = method == "HEAD" or b" 304 " in head.splitlines()[0]
        body = b"" if bodiless or length is None else self._file.read(int(length[1]))
        return re.sub(rb"date: [^\r]*\r\n", b"", head), body

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connection(client: httpx.Client) -> Connection:
    return Connection(client)


CASES = [
    [],
    [b'If-None-Match: "nothing"'],
    [b"If-None-Match: *"],
    [b'If-None-Match: W/ETAG, "x"'],
    [b"If-None-Match: ETAG"],
    [b"Cache-Control: no-cache"],
    [b"Cache-Control: no-store", b"If-None-Match: ETAG"],
    [b"Cache-Control: max-age=0"],
    [b"Connection: keep-alive", b"Accept: text/html", b"Cookie: a=b"],
    [b"Connection: close"],
    [b"Host: localhost"],
    [b"Content-Length: 0"],
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_both_ways_answer_in_the_same_bytes(client: httpx.Client, method: str) -> None:
    made = client.post("/api/v1/cards", json={"name": f"Hot {uuid.uuid4()}", "type": "Risk"}).json()
    listed = f"/api/v1/cards?type=Risk&search={made['name'].split()[1]}"
    here, nowhere = f"/api/v1/cards/{made['id']}", f"/api/v1/cards/{uuid.uuid4()}"
    targets = [here, nowhere, listed, f"{listed}&nobody=1", f"/api/v1/cards/{made['id'].upper()}"]
    targets += ["/api/v1/cards/none", "/api/v1/nothing", "/api/v1/cards?page=0"]
    for target in targets:
        first = Connection(client)
        head, _ = first.ask(target)
        first.ask(target)  # known from now on
        etag = re.search(rb"etag: ([^\r]*)", head)
        for case in CASES:
            lines = [line.replace(b"ETAG", etag[1] if etag else b'"0"') for line in case]
            hot, around = Connection(client), Connection(client)
            answers = [hot.ask(target, *lines, method=method), around.ask(target, AROUND[:-2], *lines, method=method)]
            assert answers[0] == answers[1], (target, lines)
            hot.close()
            around.close()
        first.close()


def test_hosts_that_are_not_ours_and_none_at_all_are_told_so_on_both_ways(client: httpx.Client) -> None:
    for lines in ([], [AROUND[:-2]]):
        connection = Connection(client)
        head, body = connection.ask("/api/v1/cards", *lines, host=b"evil.example")
        assert b" 421 " in head.splitlines()[0]
        assert b"misdirected" in body
        assert b" 200 " in connection.ask("/api/v1/cards?pageSize=1", *lines)[0].splitlines()[0]


def test_a_card_is_read_hot_and_slow_by_turns_on_one_connection(client: httpx.Client, connection: Connection) -> None:
    path = "/api/v1/cards"
    made = client.post(path, json={"name": f"Turns {uuid.uuid4()}", "type": "Risk"}).json()
    for score in range(5):
        changed = client.put(f"{path}/{made['id']}", json={"qualityScore": score})
        for lines in ([], [AROUND[:-2]], []):
            head, body = connection.ask(f"{path}/{made['id']}", *lines)
            assert f"etag: {changed.headers['etag']}".encode() in head
            assert body == changed.content
