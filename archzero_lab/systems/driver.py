"""One HTTP client that costs almost nothing itself: a keep-alive socket, timed from the first byte out to the last in.

General clients spend 100 µs to 1 ms a request on headers; beside an answer of 300 µs that hides what is compared.
"""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from archzero_lab.errors import MeasurementError
from archzero_lab.systems.operations import Operation

_HEAD_END = b"\r\n\r\n"
_IDLE_S = 5.0


class Driver:
    """A closed workload of one user without think time, against one base URL (`http://host:port`)."""

    def __init__(self, base_url: str, timeout_s: float = 60.0) -> None:
        parts = urlsplit(base_url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._last_used = 0.0
        self.head = b""
        """The status line and headers of the last answer, in lower case."""
        self._tail = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n".encode()

    def get(self, path: str) -> tuple[float, int, bytes]:
        """GET a path: (service_time_s, status, body). Raises MeasurementError where the service is gone."""
        try:
            connection = self._connected()
            request = b"GET " + path.encode() + self._tail
            began = time.perf_counter()
            connection.sendall(request)
            status, body = self._answer(connection)
            return time.perf_counter() - began, status, body
        except OSError as error:
            self.close()
            raise MeasurementError(f"{self._base_url} stopped answering ({error}); see its log in .lab/logs") from None

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Run an operation and check its answer: (service_time_s, bytes). A wrong answer is a MeasurementError."""
        elapsed_s, status, body = self.get(operation.path)
        if status != 200 or operation.expected not in body:
            raise MeasurementError(
                f"GET {self._base_url}{operation.path} answered {status} without what was asked for: "
                f"{body[:200].decode('utf-8', 'replace')}"
            )
        return elapsed_s, len(body)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        # servers end a connection that is idle (Granian after 30 s): a new one, made before the clock starts
        if time.monotonic() - self._last_used > _IDLE_S:
            self.close()
        self._last_used = time.monotonic()
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _answer(self, connection: socket.socket) -> tuple[int, bytes]:
        received = connection.recv(65_536)
        while (end := received.find(_HEAD_END)) < 0:
            more = connection.recv(65_536)
            if not more:
                raise ConnectionResetError("connection closed")
            received += more
        head = self.head = received[:end].lower()
        status = int(head[9:12])
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            raise ConnectionResetError("an answer without Content-Length")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0])
        body = received[end + 4 :]
        if len(body) < length:
            parts, size = [body], len(body)
            while size < length:
                more = connection.recv(262_144)
                if not more:
                    raise ConnectionResetError("connection closed")
                parts.append(more)
                size += len(more)
            body = b"".join(parts)
        return status, body
