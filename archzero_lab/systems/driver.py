"""One HTTP client that costs almost nothing itself: a keep-alive socket, timed from the first byte out to the last in.

General clients spend 100 µs to 1 ms a request on headers; beside an answer of 300 µs that hides what is compared.
What an answer is made of is read by systems/http_answer.py.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from urllib.parse import urlsplit

from archzero_lab.errors import MeasurementError, mask_secrets
from archzero_lab.systems.http_answer import MalformedAnswerError, read_answer, unpacked
from archzero_lab.systems.operations import Operation

_IDLE_S = 5.0
_SAFE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
"""What may be sent again where a connection that was kept turns out closed (RFC 9110, 9.2.2)."""


class Driver:
    """A closed workload of one user without think time, against one base URL (`https://host:port/base/path`).

    `verify` is for https: True the machine's certificates, a text the file of a CA, False none. Redirects are answers
    and not followed. Raises MeasurementError for what is no URL of HTTP.
    """

    def __init__(self, base_url: str, timeout_s: float = 60.0, verify: bool | str = True) -> None:
        parts = urlsplit(base_url)
        shown = mask_secrets(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MeasurementError(f"{shown} is no address of a service: give one such as http://127.0.0.1:8000")
        secure = parts.scheme == "https"
        self._address = (parts.hostname, parts.port or (443 if secure else 80))
        self._base_url = shown.rstrip("/")
        self._base_path = parts.path.rstrip("/").encode()
        self._timeout_s = timeout_s
        self._context = _context(verify) if secure else None
        self._socket: socket.socket | None = None
        self._last_used = 0.0
        self.head = b""
        """The status line and headers of the last answer, in lower case."""
        self.raw_head = b""
        """The same as it came."""
        host = parts.netloc.rpartition("@")[2]
        self._host = f" HTTP/1.1\r\nHost: {host}\r\n".encode()
        self._tail = self._host + b"Accept: application/json\r\n\r\n"

    def get(self, path: str) -> tuple[float, int, bytes]:
        """GET a path: (service_time_s, status, body). Raises MeasurementError where the service is gone."""
        return self._exchange("GET", path, b"GET " + self._base_path + path.encode() + self._tail)

    def send(self, operation: Operation) -> tuple[float, int, bytes]:
        """Send any operation: (service_time_s, status, body as it came). Raises MeasurementError for no answer."""
        if operation.method == "GET" and not operation.headers and not operation.body:
            return self.get(operation.path)
        given = {name.lower() for name, _ in operation.headers}
        lines = [f"{name}: {value}\r\n" for name, value in operation.headers]
        if "accept" not in given:
            lines.append("Accept: application/json\r\n")
        if operation.body or operation.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(operation.body)}\r\n")
        start = operation.method.encode() + b" " + self._base_path + operation.path.encode() + self._host
        request = start + "".join(lines).encode("latin-1") + b"\r\n" + operation.body
        return self._exchange(operation.method, operation.path, request)

    def ask(self, operation: Operation) -> tuple[float, int]:
        """Run an operation and check its answer: (service_time_s, bytes). A wrong answer is a MeasurementError."""
        elapsed_s, body = self.answer(operation)
        return elapsed_s, len(body)

    def answer(self, operation: Operation) -> tuple[float, bytes]:
        """Run an operation and check its answer: (service_time_s, body as it came). Raises MeasurementError."""
        elapsed_s, status, body = self.send(operation)
        if status != operation.status or operation.expected not in body:
            what = (
                f"{status}, not {operation.status}"
                if status != operation.status
                else f"{status} without what was asked for"
            )
            text = self.unpacked(body)[:200].decode("utf-8", "replace")
            raise MeasurementError(f"{operation.method} {self._base_url}{operation.path} answered {what}: {text}")
        return elapsed_s, body

    def unpacked(self, body: bytes) -> bytes:
        """The body of the last answer without the packing (gzip, deflate) that its head names."""
        return unpacked(self.head, body)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, method: str, path: str, request: bytes) -> tuple[float, int, bytes]:
        kept = self._socket is not None
        try:
            try:
                return self._once(method, request)
            except ConnectionError:
                # between our look and our request it was closed: no answer to this request is lost by asking again
                self.close()
                if not kept or method not in _SAFE or self.head:
                    raise
                return self._once(method, request)
        except MalformedAnswerError as error:
            self.close()
            raise MeasurementError(f"{method} {self._base_url}{path}: {error}") from None
        except ssl.SSLError as error:
            self.close()
            raise MeasurementError(
                f"{method} {self._base_url}{path}: {error.reason or error}; name its CA's file, or verify = false"
            ) from None
        except OSError as error:
            self.close()
            raise MeasurementError(
                f"{method} {self._base_url}{path}: {self._base_url} stopped answering ({error}); see its log"
            ) from None

    def _once(self, method: str, request: bytes) -> tuple[float, int, bytes]:
        connection = self._connected()
        self.head = b""
        began = time.perf_counter()
        connection.sendall(request)
        answer = read_answer(connection, method)
        elapsed_s = time.perf_counter() - began
        self.raw_head, self.head = answer.head, answer.head.lower()
        if answer.closes:
            self.close()
        return elapsed_s, answer.status, answer.body

    def _connected(self) -> socket.socket:
        # servers end a connection that is idle (uvicorn after 5 s, many after 30): a new one, made before the clock
        # starts
        if time.monotonic() - self._last_used > _IDLE_S or (self._socket is not None and _is_readable(self._socket)):
            self.close()
        self._last_used = time.monotonic()
        if self._socket is None:
            made = socket.create_connection(self._address, timeout=self._timeout_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                made = self._context.wrap_socket(made, server_hostname=self._address[0])
            self._socket = made
        return self._socket


def _is_readable(connection: socket.socket) -> bool:
    """Whether something lies there that nobody asked for: the other side has closed it."""
    return bool(select.select([connection], [], [], 0)[0])


def _context(verify: bool | str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    except OSError as error:
        raise MeasurementError(f"verify = {verify!r}: {error.strerror}; name a file of certificates") from None
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
