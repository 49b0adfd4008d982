"""Requests drafted from traffic that was recorded: a HAR, or an access log; alike paths become one kind of request."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.drafts.drafted import FORM, Drafted, DraftedRequest, name_of_path, unique_name

_LINE = re.compile(r'"(?P<method>[A-Z]+) (?P<path>/\S*)(?: HTTP/[\d.]+)?" (?P<status>\d{3})\b')
"""What Combined Log Format and uvicorn's lines have in common."""
_ITEM = re.compile(r"(\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-fA-F]{16,})(\.[A-Za-z]{1,5})?")
"""A part of a path that names one of many: a number, a UUID or a hash, and maybe the form that it is asked for in."""
_STATIC = re.compile(r"\.(js|css|png|jpe?g|gif|svg|ico|woff2?|map|webp)$")
_MOST_KINDS = 40
_TEXT = ""


@dataclass(frozen=True)
class Seen:
    """One request as it was recorded; `body` is JSON or None, `form` the fields of one."""

    method: str
    target: str
    status: int
    body: Any = None
    form: Mapping[str, str] = field(default_factory=dict)


def read_har(document: Mapping[str, Any]) -> list[Seen]:
    """The requests of a HAR, but files that a page is made of. Raises SettingsError for one without any."""
    requests = []
    for entry in document.get("log", {}).get("entries") or []:
        request = entry.get("request") or {}
        parts = urlsplit(str(request.get("url", "")))
        if not parts.path.startswith("/"):
            continue
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        posted = request.get("postData") or {}
        text = posted.get("text")
        form = _form(posted) if _is_form(posted.get("mimeType")) else {}
        status = int((entry.get("response") or {}).get("status") or 200)
        requests.append(Seen(str(request.get("method", "GET")), target, status, None if form else _json(text), form))
    return _without_files(requests, "the HAR")


def address_of_har(document: Mapping[str, Any]) -> str:
    """Where most of its requests went."""
    urls = [str((entry.get("request") or {}).get("url", "")) for entry in document.get("log", {}).get("entries") or []]
    parts = [urlsplit(url) for url in urls]
    counted = Counter(f"{part.scheme}://{part.netloc}" for part in parts if part.scheme in ("http", "https"))
    return counted.most_common(1)[0][0] if counted else ""


def read_log(text: str) -> list[Seen]:
    """The requests of an access log: Combined, uvicorn's, nginx JSON or our own. Raises SettingsError for none."""
    requests = [seen for line in text.splitlines() if (seen := _of_line(line)) is not None]
    return _without_files(requests, "the log")


def _of_line(line: str) -> Seen | None:
    if line.lstrip().startswith("{"):
        try:
            fields = json.loads(line)
        except ValueError:
            return None
        return _of_json(fields) if isinstance(fields, dict) else None
    match = _LINE.search(line)
    return Seen(match["method"], match["path"], int(match["status"])) if match else None


def _of_json(fields: Mapping[str, Any]) -> Seen | None:
    """A line of JSON: ours (method, path), or nginx' by its own names of them."""
    method, _, rest = str(fields.get("request", "")).partition(" ")
    target = fields.get("path") or fields.get("request_uri") or fields.get("uri") or rest.partition(" ")[0]
    method = str(fields.get("method") or fields.get("request_method") or method)
    if not method or not str(target).startswith("/"):
        return None
    if fields.get("args") and "?" not in str(target):
        target = f"{target}?{fields['args']}"
    try:
        status = int(fields.get("status", 200))
    except (TypeError, ValueError):
        status = 200
    return Seen(method.upper(), str(target), status, _json(fields.get("body")))


def draft_traffic(seen: Iterable[Seen], url: str = "") -> Drafted:
    """Kinds of request, the commonest first, with how often each came and the values that were asked for."""
    groups: dict[tuple[str, str], list[Seen]] = {}
    for one in seen:
        if 200 <= one.status < 400:
            groups.setdefault((one.method, _shape(one.target)), []).append(one)
    made = Drafted([], {}, url=url)
    for (method, shape), members in sorted(groups.items(), key=lambda group: -len(group[1]))[:_MOST_KINDS]:
        made.requests.append(_request(made, method, shape, members))
    if not made.requests:
        raise SettingsError("no request of it was answered 2xx or 3xx: there is nothing to ask again")
    return made


def _request(made: Drafted, method: str, shape: str, members: list[Seen]) -> DraftedRequest:
    name = unique_name(name_of_path(method, shape), [one.name for one in made.requests])
    status = Counter(one.status for one in members).most_common(1)[0][0]
    request = DraftedRequest(name, method, shape, status, float(len(members)))
    request.body = next((one.body for one in members if one.body is not None), None)
    request.form = next((dict(one.form) for one in members if one.form), {})
    pieces = _pieces(members[0].target)
    columns = list(zip(*([value for _, value in _pieces(one.target)] for one in members), strict=True))
    path = ""
    for (kind, _), column in zip(pieces, columns, strict=True):
        if kind == _TEXT or (len(set(column)) == 1 and path.endswith("=")):
            path += column[0]  # a parameter that was always the same belongs to the path
        else:
            # commonest first: popularity follows the order
            values = [unquote(value) for value, _ in Counter(column).most_common()]
            place = _place(made, kind if kind != "n" else f"{name}_n", values, path)
            path += "{" + place + "}"
    request.path = path
    return request


def _place(made: Drafted, name: str, values: list[str], path: str) -> str:
    """The place of that name whose values are these, unless this path has it: two places are drawn by themselves."""
    for one, known in made.values.items():
        if known == values and re.fullmatch(rf"{unique_name(name, ())}(_\d+)?", one) and f"{{{one}}}" not in path:
            return one
    place = unique_name(name, made.values)
    made.values[place] = values
    return place


def _shape(target: str) -> str:
    """A target with places for what names one of many, and for the values of its query."""
    return "".join(value if kind == _TEXT else "{" + kind + "}" for kind, value in _pieces(target))


def _pieces(target: str) -> list[tuple[str, str]]:
    """A target cut into text that stays and values, each with a name: things_id after things/, or its parameter's."""
    path, _, query = target.partition("?")
    pieces: list[tuple[str, str]] = []
    before = ""
    for part in path.split("/")[1:]:
        pieces.append((_TEXT, "/"))
        if item := _ITEM.fullmatch(part):
            pieces += [(f"{before}_id".lstrip("_"), item[1]), (_TEXT, item[2] or "")]
        else:
            pieces.append((_TEXT, part))
            before = re.sub(r"\W+", "_", part)
    for number, (name, value) in enumerate(sorted(parse_qsl(query, keep_blank_values=True))):
        pieces.append((_TEXT, ("&" if number else "?") + quote(name, safe="[]") + "="))
        pieces.append((re.sub(r"\W+", "_", name).strip("_") or "value", quote(value, safe="")))
    return pieces


def _form(posted: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a form: browsers record them one by one, or as they were sent."""
    fields = {str(one.get("name")): str(one.get("value") or "") for one in posted.get("params") or []}
    return fields or dict(parse_qsl(str(posted.get("text") or ""), keep_blank_values=True))


def _is_form(media_type: Any) -> bool:
    return str(media_type or "").partition(";")[0].strip().lower() == FORM


def _without_files(requests: list[Seen], what: str) -> list[Seen]:
    kept = [one for one in requests if not _STATIC.search(urlsplit(one.target).path)]
    if not kept:
        raise SettingsError(f"{what} holds no request that could be read")
    return kept


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) and text else None
    except ValueError:
        return None
