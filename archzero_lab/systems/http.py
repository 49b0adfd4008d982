"""HTTP beside the measured requests: a service asked for JSON, its metrics read. The timed client is driver.py."""

from __future__ import annotations

import functools
import json
import ssl
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from archzero_lab.errors import MeasurementError

_TIMEOUT_S = 60.0
NO_ANSWER_IN_TIME = "no answer in time"
"""What call() gives with a status of 0 where a service took longer than 60 s: it may be there."""


def call(url: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """(status, JSON) of a request to a service; (0, reason) where there was no answer. A text is sent as JSON Lines.

    What is no success has no JSON: its status alone says what happened.
    """
    try:
        answer = request(url, method, path, body, **headers)
        if not answer.is_success:
            return answer.status_code, None
        return answer.status_code, answer.json() if answer.content else None
    except httpx.TimeoutException:
        return 0, NO_ANSWER_IN_TIME
    except (httpx.HTTPError, ValueError) as error:
        return 0, type(error).__name__


def request(url: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """One request, answered in whatever way. Raises httpx.HTTPError where nothing was."""
    content = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    media_type = "application/x-ndjson" if isinstance(body, str) else "application/json"
    sent = {"Content-Type": media_type, **headers} if content is not None else headers
    # loopback is never behind a proxy, whatever the environment says
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False, verify=_trusted()) as client:
        return client.request(method, url.rstrip("/") + path, content=content, headers=sent)


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Read once: the certificates of a machine take 20 ms to load."""
    return ssl.create_default_context()


def metrics(url: str) -> dict[str, float]:
    """A service's metrics by sample name, summed over their labels. Raises MeasurementError where it is silent."""
    try:
        text = request(url, "GET", "/metrics").text
    except httpx.HTTPError as error:
        raise MeasurementError(f"{url} does not tell its metrics ({type(error).__name__}); see .lab/logs") from None
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    return samples


def metric(url: str, name: str) -> float:
    """One of a service's metrics; 0 where there is none of that name."""
    return metrics(url).get(name, 0.0)
