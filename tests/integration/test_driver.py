"""The driver: times whole answers, checks them, survives an idle connection, and says when a service is gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from archzero_lab.errors import MeasurementError
from archzero_lab.systems.arczero.traffic import Operation
from archzero_lab.systems.driver import Driver

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
        while _received(connection):
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
        (_answer("500 Oops", b"broken"), "answered 500 without what was asked for: broken"),
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
