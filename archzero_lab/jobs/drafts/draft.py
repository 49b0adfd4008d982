"""A draft of archzero.toml from what is known of a service: an OpenAPI document, a HAR or an access log."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from archzero_lab.errors import LabError, SettingsError, mask_secrets
from archzero_lab.jobs.drafts.drafted import (
    Drafted,
    DraftedRequest,
    commented,
    key_text,
    table_text,
    value_text,
    without_secrets,
)
from archzero_lab.jobs.drafts.openapi import draft_openapi
from archzero_lab.jobs.drafts.traffic import address_of_har, draft_traffic, read_har, read_log
from archzero_lab.systems.http import request

_STARTERS = ("run.sh", "start.sh", "bin/start", "bin/server")
_DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Draft:
    """The file's text, what it holds in a phrase, and what only its owner knows."""

    text: str
    described: str
    to_fill_in: tuple[str, ...]


def draft(source: str, *, writes: bool = False, folder: Path | None = None) -> Draft:
    """Read a source and write the file's text. Raises LabError for what cannot be read as any of them."""
    made, what = _read(source)
    return _written(made, what, writes=writes, folder=folder or Path.cwd())


def _read(source: str) -> tuple[Drafted, str]:
    shown = mask_secrets(source)
    if source.startswith(("http://", "https://")):
        parts = urlsplit(source)
        try:
            answer = request(f"{parts.scheme}://{parts.netloc}", "GET", parts.path or "/openapi.json")
        except httpx.HTTPError as error:
            raise LabError(f"cannot reach {shown} ({error}); start the service, or name a file") from None
        if not answer.is_success:
            raise LabError(f"{shown} answers {answer.status_code}; give the address of its OpenAPI document")
        made = draft_openapi(_document(answer.text, shown))
        made.url = f"{parts.scheme}://{parts.netloc}"
        return made, "OpenAPI"
    try:
        text = Path(source).read_text(errors="replace")
    except OSError as error:
        raise SettingsError(f"{source}: {error.strerror}; name an OpenAPI document, a HAR or an access log") from None
    if source.endswith(".har") or '"entries"' in text[:4_000]:
        document = _document(text, source)
        return draft_traffic(read_har(document), address_of_har(document)), "a HAR"
    if "openapi" in text[:2_000] or source.endswith((".yaml", ".yml")):
        return draft_openapi(_document(text, source)), "OpenAPI"
    return draft_traffic(read_log(text)), "an access log"


def _document(text: str, source: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"{source} is neither JSON nor YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{source} is no OpenAPI document and no HAR")
    return document


def _written(made: Drafted, what: str, *, writes: bool, folder: Path) -> Draft:
    to_fill_in: list[str] = []
    parts = [f"# Made by lab init from {what}. What each field means: docs/your-service.md of the lab."]
    parts += _service(made, folder, to_fill_in)
    reads = 0
    for one in made.requests:
        text = _request_text(one)
        live = writes or not one.writes
        reads += live
        parts.append(text if live else commented(text))
        if live and one.guessed:
            to_fill_in.append(f"values of {', '.join(one.guessed)}, which {one.name} asks for: a guess stands there")
    if not reads:
        raise SettingsError("every request of it writes: give --writes where they may be sent")
    if made.values:
        parts.append(table_text("values", made.values))
    names = [one.name for one in made.requests if writes or not one.writes]
    parts.append(commented(_claim_text(names[0])))
    left = len(made.requests) - reads
    beside = f"; those that write ({left}) are left as comments, --writes puts them in" if left else ""
    described = f"{reads} {'request' if reads == 1 else 'requests'} from {what}{beside}"
    return Draft("\n\n".join(parts) + "\n", described, tuple(to_fill_in))


def _service(made: Drafted, folder: Path, to_fill_in: list[str]) -> list[str]:
    """[service], the servers and the arms: builds where it is plain how one starts, else the address that was told."""
    starter = next((name for name in _STARTERS if (folder / name).is_file()), "")
    service: dict[str, Any] = {"ready": made.ready or "/"}
    if starter:
        service = {"start": f"./{starter}"} | service
    parts = [table_text("service", service)]
    if made.needs_token:
        parts[0] += '\n# headers = { Authorization = "$TOKEN" }'
        to_fill_in.append("[service] headers: the document speaks of a token")
    servers = [
        (table_text("database", {"url": "$DATABASE_URL", "variable": "DATABASE_URL"}), "DATABASE_URL"),
        (table_text("redis", {"variable": "REDIS_URL"}), "REDIS_URL"),
    ]
    parts += [text if variable in os.environ else commented(text) for text, variable in servers]
    builds = [table_text("arms.main", {"build": "main"}), table_text("arms.branch", {"build": "."})]
    if starter:
        parts += builds
    else:
        parts.append(table_text("arms.now", {"url": made.url or _DEFAULT_URL}))
        parts.append(commented("\n\n".join(["# with [service] start, builds are compared:", *builds])))
        to_fill_in.append("[service] start and [arms] with a build, to compare one build with another")
        if not made.url:
            to_fill_in.append(f"[arms.now] url: {_DEFAULT_URL} is a guess")
    return parts


def _request_text(one: DraftedRequest) -> str:
    fields: dict[str, Any] = {}
    if one.method != "GET":
        fields["method"] = one.method
    fields["path"] = one.path
    if one.body is not None:
        fields["json"] = without_secrets(one.body)
    elif one.form:
        fields["form"] = without_secrets(one.form)
    if one.status != 200:
        fields["status"] = one.status
    if one.weight != 1:
        fields["weight"] = one.weight
    return table_text(f"requests.{key_text(one.name)}", fields)


def _claim_text(name: str) -> str:
    claimed = value_text({"before": 100, "after": 50, "improvement": 0.5})
    arms = value_text({"control": "main", "treatment": "branch"})
    return "\n".join([
        f"[claims.{name}]  # what the branch is said to gain; lab report measures it",
        f"title = {value_text(name.replace('_', ' ').capitalize())}", 'metric = "p50"',
        f"operations = {value_text(name)}",
        f"claimed = {claimed}", f"arms = {arms}",
        'mechanism = "blocks"  # or statements, hits, one of [counters], "none"',
    ])  # fmt: skip
