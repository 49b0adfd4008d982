"""What a connection answers itself is a request that the parser would have read in the same way, to the last header."""

from __future__ import annotations

import httptools
from hypothesis import example, given
from hypothesis import strategies as st

from archzero_lab.systems.arczero.api.doorkeeper import Doorkeeper
from archzero_lab.systems.arczero.api.hot_reads import HotReads
from archzero_lab.systems.arczero.api.wire import is_strict

HOST = b"Host: localhost:3000"
ASKED = b"GET /api/v1/cards/00000000-0000-0000-0000-000000000007 HTTP/1.1\r\n"


def _lets_in(host: bytes) -> bool:
    return Doorkeeper(None).lets_in(host)


class _Read:
    """A request as httptools reads it."""

    def __init__(self, request: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(request)
        self.keep_alive = parser.should_keep_alive()
        self.upgrade = parser.should_upgrade()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.complete += 1

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other == name]


NAMES = st.sampled_from(
    [
        "Host", "Accept", "Cache-Control", "cache-control", "If-None-Match", "Connection", "Content-Length", "Upgrade",
        "Transfer-Encoding", "Expect", "X-Request-Id", "TE", "Cookie", "X Bad", "", ":",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        [
            "localhost", "evil.example", "no-cache", "max-age=0", '"7.1"', "W/\"1\", *", "keep-alive", "close", "0",
            "chunked", "100-continue", "h2c", "upgrade, keep-alive", "a\tb", " spaces ", "",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=12),
)  # fmt: skip
LINES = st.lists(
    st.one_of(st.builds("{}: {}".format, NAMES, VALUES), st.builds("{}:{}".format, NAMES, VALUES), VALUES), max_size=6
)


@given(LINES)
@example(["Connection: close", "Connection: keep-alive"])
@example(["Cache-Control: no-cache", "Cache-Control: max-age=0"])
@example(["If-None-Match:  spaces "])
def test_header_lines_that_are_taken_mean_what_the_parser_reads(lines: list[str]) -> None:
    block = b"\r\n".join([HOST, *(line.encode("latin-1") for line in lines)])
    hot = HotReads(lambda: None, lambda path, query: None, _lets_in)
    wishes = hot.wishes(block)
    assert hot.wishes(block) is wishes
    if wishes is None:
        return
    read = _Read(ASKED + block + b"\r\n\r\n")
    assert read.complete == 1
    assert read.keep_alive
    assert not read.upgrade
    assert len(read.all(b"host")) == 1
    assert _lets_in(read.all(b"host")[0])
    control = read.all(b"cache-control")
    assert wishes.strict == is_strict(control[0].decode("latin-1") if control else None)
    # white space around a value is no part of it (RFC 9110, 5.5); the parser leaves what follows
    told = [value.decode("latin-1").strip(" \t") for value in read.all(b"if-none-match")]
    assert [wishes.if_none_match] == (told or [None])
    for name in (b"content-length", b"transfer-encoding", b"expect"):
        assert not read.all(name)


def test_what_clients_usually_send_is_taken() -> None:
    hot = HotReads(lambda: None, lambda path, query: None, _lets_in)
    curl = b"Host: 127.0.0.1:3000\r\nUser-Agent: curl/8.0\r\nAccept: */*"
    browser = HOST + b'\r\nConnection: keep-alive\r\nIf-None-Match: "7.1"\r\nCache-Control: no-cache\r\nAccept: a;q=0.9'
    assert hot.wishes(curl) is not None
    assert (found := hot.wishes(browser)) is not None
    assert (found.strict, found.if_none_match) == (True, '"7.1"')
