"""The driver: times whole answers, checks them, survives an idle connection, and says when a service is gone."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from archzero_lab.errors import MeasurementError
from archzero_lab.systems.arczero.traffic import Operation
from archzero_lab.systems.driver import Driver

pytestmark = pytest.mark.once

BODY = b'{"id": "x"}' * 20_000


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except OSError:  # the test has closed it
        return b""


class Server:
    """Answers what `answers` holds, one after the other, in two parts; closes the connection where that is empty."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        self.heard: Callable[[bytes], None] = lambda request: None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        while request := _received(connection):
            self.heard(request)
            if not self.answers:
                connection.close()
                return
            answer = self.answers.pop(0)
            connection.sendall(answer[:30])
            connection.sendall(answer[30:])

    def close(self) -> None:
        self._listener.close()


def _answer(status: str = "200 OK", body: bytes = BODY) -> bytes:
    return b"HTTP/1.1 %s\r\nX-A: b\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_a_large_answer_in_pieces_is_read_whole(server: Server) -> None:
    server.answers = [_answer(), _answer(body=b"")]
    driver = Driver(server.url)
    elapsed_s, status, body = driver.get("/a")
    assert (status, body) == (200, BODY)
    assert elapsed_s > 0
    assert driver.get("/b")[2] == b""
    assert len(server.connections) == 1
    driver.close()


def test_an_idle_connection_is_replaced_before_it_can_fail(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [_answer(), _answer()]
    driver = Driver(server.url)
    driver.get("/a")
    server.connections[0].close()
    monkeypatch.setattr("archzero_lab.systems.driver._IDLE_S", -1.0)
    assert driver.get("/b")[1] == 200
    driver.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (_answer("500 Oops", b"broken"), "answered 500, not 200: broken"),
        (_answer(body=b'{"id": "other"}'), "answered 200 without what was asked for"),
    ],
)
def test_a_wrong_answer_is_no_measurement(server: Server, answer: bytes, told: str) -> None:
    server.answers = [answer]
    with pytest.raises(MeasurementError, match=told):
        Driver(server.url).ask(Operation("/x", "detail", b"wanted"))


def test_a_service_that_hangs_up_is_told(server: Server) -> None:
    with pytest.raises(MeasurementError, match="stopped answering"):
        Driver(server.url).get("/x")


def _chunked(*chunks: bytes) -> bytes:
    body = b"".join(b"%x;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX-Last: 1\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def test_a_streamed_answer_is_read_whole_and_its_connection_used_again(server: Server) -> None:
    server.answers = [_chunked(b"x" * 70_000, b"y", b"z" * 10), _answer(body=b"next")]
    driver = Driver(server.url)
    assert driver.get("/a")[2] == b"x" * 70_000 + b"y" + b"z" * 10
    assert driver.get("/b")[2] == b"next"
    assert len(server.connections) == 1
    driver.close()


def test_an_answer_up_to_the_connections_end_is_read_whole(server: Server) -> None:
    server.answers = [b"HTTP/1.0 200 OK\r\n\r\n" + BODY]
    driver = Driver(server.url)
    timer = threading.Timer(0.1, lambda: server.connections[0].shutdown(socket.SHUT_WR))
    timer.start()
    assert driver.get("/a")[2] == BODY
    server.answers = [_answer(body=b"again")]
    assert driver.get("/b")[2] == b"again"
    driver.close()


def test_an_interim_answer_is_not_taken_for_the_answer(server: Server) -> None:
    server.answers = [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + _answer(body=b"it")]
    driver = Driver(server.url)
    assert driver.get("/a")[1:] == (200, b"it")
    driver.close()


def test_what_a_head_request_and_204_answer_has_no_body_to_wait_for(server: Server) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"]
    driver = Driver(server.url)
    assert driver.send(Operation("/a", "a", method="HEAD"))[1:] == (200, b"")
    assert driver.send(Operation("/a", "a", method="DELETE"))[1:] == (204, b"")
    driver.close()


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(server: Server) -> None:
    server.answers = [_answer(body=b"one")]
    driver = Driver(server.url)
    driver.get("/a")
    server.connections[0].shutdown(socket.SHUT_RDWR)
    server.answers = [_answer(body=b"two")]
    assert driver.send(Operation("/b", "b", method="POST", body=b"{}"))[2] == b"two"
    driver.close()


def test_a_packed_answer_is_told_unpacked(server: Server) -> None:
    packed = gzip.compress(b"broken by us")
    server.answers = [
        b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed)
    ]
    with pytest.raises(MeasurementError, match=r"GET http://127\.0\.0\.1:\d+/x answered 500, not 200: broken by us"):
        Driver(server.url).ask(Operation("/x", "x"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "what is not HTTP/1.1: b'ssh-2.0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "one of the size b'zz'"),
    ],
)
def test_what_is_no_answer_is_named_with_its_address(server: Server, answer: bytes, told: str) -> None:
    server.answers = [answer]
    with pytest.raises(MeasurementError, match=f"GET {server.url}/base/x: .*{told}"):
        Driver(server.url + "/base/").get("/x")


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://x/", "http:///x", ""])
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(MeasurementError, match="no address of a service"):
        Driver(url)


def test_what_is_sent_has_base_path_method_headers_and_body(server: Server) -> None:
    seen: list[bytes] = []
    server.answers = [_answer(body=b"ok")]
    server.heard = seen.append
    operation = Operation("/x?y=1", "x", method="PUT", headers=(("X-Who", "me"), ("Accept", "*/*")), body=b"{}")
    Driver(server.url + "/base/").ask(operation)
    start, _, rest = seen[0].partition(b"\r\n")
    assert start == b"PUT /base/x?y=1 HTTP/1.1"
    assert rest.endswith(b"\r\nX-Who: me\r\nAccept: */*\r\nContent-Length: 2\r\n\r\n{}")
