"""lab.Requests and URLs as arms, at the edges of what services speak."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import archzero_lab as lab
from archzero_lab.errors import LabError, MeasurementError, SettingsError, UnknownNameError

CERTIFICATE = Path(__file__).with_name("loopback.pem")
"""A key and a certificate for 127.0.0.1 that nothing else trusts."""


class Service(BaseHTTPRequestHandler):
    """Answers /base/…: streams, redirects, wants a token and a body for a POST."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/base/moved":
            self._answer(302, b"", Location="/base/plain")
        elif self.path == "/base/streamed":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"one", b"two"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._answer(200 if self.path.startswith("/base/plain") else 404, b"nothing here")

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.headers["Authorization"] == "Bearer x" and sent == {"a": 1}
        self._answer(201 if right else 401, b"{}")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/base"
    server.shutdown()


@pytest.fixture(scope="module")
def secure() -> Iterator[str]:
    """The same by https, with a certificate that only its own file vouches for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/base"
    server.shutdown()


def test_https_is_verified_by_the_file_that_is_given_or_not_at_all_where_that_is_said(secure: str) -> None:
    for verify in (str(CERTIFICATE), False):
        arm = lab.Requests(secure, ["/plain", "/streamed"], verify=verify)
        assert measured(arm, arm).comparison is not None
    with pytest.raises(
        MeasurementError, match=f"GET {secure}/plain: CERTIFICATE_VERIFY_FAILED; name its CA's file, or verify = false"
    ):
        measured(lab.Requests(secure, ["/plain"]), lab.Requests(secure, ["/plain"], verify=False))


def measured(control: Any, treatment: Any) -> Any:
    return lab.experiment(control, treatment, blocks=6, calls=3).wait()


@pytest.mark.parametrize(
    "given",
    [
        {"paths": ["/plain"]},
        {"paths": ["/streamed"]},
        {"paths": ["/moved"], "status": 302},
        {"paths": ["/x"], "method": "POST", "json": {"a": 1}, "headers": {"Authorization": "Bearer x"}, "status": 201},
    ],
)
def test_what_a_service_speaks_is_measured(base: str, given: dict[str, Any]) -> None:
    assert measured(lab.Requests(base, **given), lab.Requests(base, **given)).comparison is not None


def test_two_urls_as_text_are_requests_and_no_sql(base: str) -> None:
    assert measured(f"{base}/plain?a=1", f"{base}/plain?a=2").comparison is not None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"paths": ["/nope"]}, "GET http://127.0.0.1.*/base/nope answered 404: nothing here"),
        ({"paths": ["/moved"]}, "/base/moved answered 302"),
        ({"paths": ["/x"], "method": "POST", "json": {}, "status": 201}, "POST http.*/base/x answered 401, not 201"),
    ],
)
def test_a_wrong_answer_is_named_with_its_address(base: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(MeasurementError, match=told):
        measured(lab.Requests(base, **given), lab.Requests(base, ["/plain"]))


@pytest.mark.parametrize(
    ("url", "given", "error", "told"),
    [
        ("http://127.0.0.1:9", {"paths": "/plain"}, SettingsError, "a list of at least one path"),
        ("http://127.0.0.1:9", {"paths": ["plain"]}, SettingsError, "must begin with / and be URL-encoded"),
        ("http://127.0.0.1:9", {"paths": ["/a b"]}, SettingsError, "must begin with / and be URL-encoded"),
        ("http://127.0.0.1:9", {"paths": ["/"], "method": "FETCH"}, UnknownNameError, "known: GET, HEAD, POST"),
        ("127.0.0.1:9", {"paths": ["/"]}, MeasurementError, "no address of a service"),
        ("https://127.0.0.1:9", {"paths": ["/"], "verify": "none.pem"}, MeasurementError, "a file of certificates"),
    ],
)
def test_what_can_not_be_asked_is_refused_at_once(
    url: str, given: dict[str, Any], error: type[LabError], told: str
) -> None:
    with pytest.raises(error, match=told):
        lab.experiment(lab.Requests(url, **given), "SELECT 1")


def test_a_service_that_is_not_there_is_named(base: str) -> None:
    with pytest.raises(MeasurementError, match=r"GET http://127\.0\.0\.1:9/x: .*stopped answering.*refused"):
        measured(lab.Requests("http://127.0.0.1:9", ["/x"]), lab.Requests(base, ["/plain"]))
    with pytest.raises(MeasurementError, match=r"https://127\.0\.0\.1:\d+/x: "):
        measured(lab.Requests(base.replace("http", "https").removesuffix("/base"), ["/x"]), f"{base}/plain")
