"""What a load is asked for and the host it goes to are checked before anything is sent."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from archzero_lab.bootstrap.system import system_here
from archzero_lab.errors import LabError, SettingsError
from archzero_lab.jobs.load.request import LoadRequest, check_request

ANSWERS: dict[str, tuple[int, str]] = {
    "/right": (200, json.dumps({"data": [{}], "total": 7})),
    "/empty": (200, json.dumps({"data": [], "total": 0})),
    "/busy": (503, "{}"),
    "/html": (200, "<html>hello</html>"),
    "/other": (200, json.dumps({"items": []})),
    "/list": (200, "[1]"),
}


class _Host(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path.partition("/api/")[0]]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A host whose paths answer in all the ways that a host can."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Host)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_card_service_says_how_many_cards_it_has(host: str) -> None:
    assert system_here().rows_exist(host + "/right") == 7


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/empty", "holds no card: load an inventory first"),
        ("/busy", "answers 503 to /api/v1/cards"),
        ("/html", "otherwise than the Arc Zero API"),
        ("/other", "otherwise than the Arc Zero API"),
        ("/list", "otherwise than the Arc Zero API"),
    ],
)
def test_a_host_on_which_a_load_would_measure_nothing_is_refused(host: str, path: str, told: str) -> None:
    with pytest.raises(LabError, match=told):
        system_here().rows_exist(host + path)


@pytest.mark.parametrize("name", ["http://127.0.0.1:3000", "http://localhost:1", "http://[::1]:3000"])
def test_loopback_may_be_loaded(name: str) -> None:
    check_request(system_here(), LoadRequest(host=name))


def test_another_host_only_where_it_is_named_as_ones_own() -> None:
    request = LoadRequest(host="https://staging.example.org:8443")
    with pytest.raises(SettingsError, match=r"--i-own-this-host staging\.example\.org"):
        check_request(system_here(), request)
    with pytest.raises(SettingsError):
        check_request(system_here(), request, "example.org")
    check_request(system_here(), request, "staging.example.org")


def test_open_and_closed_are_told_apart_and_a_soak_takes_an_hour() -> None:
    assert LoadRequest(rate_per_s=5).is_open
    assert LoadRequest(shape="capacity").is_open
    assert not LoadRequest(users=3).is_open
    assert LoadRequest(shape="soak", warm_up_s=0).seconds == 3600
    assert "s3cret" not in str(LoadRequest(host="http://u:s3cret@127.0.0.1:1").as_dict())
