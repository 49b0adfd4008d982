"""Requests drafted from an OpenAPI document (3.x), their values from its examples and defaults, else guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.drafts.drafted import FORM, Drafted, DraftedRequest, name_of_path, unique_name

_METHODS = ("get", "post", "put", "patch", "delete")
_READY = re.compile(r"/(healthz?|readyz?|ready|livez?|ping|status|up)/?$")
_DEEPEST = 6


def draft_openapi(document: Mapping[str, Any]) -> Drafted:
    """Requests of a document. Raises SettingsError for one that has none."""
    paths = document.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise SettingsError("the OpenAPI document has no paths")
    servers = [server for server in document.get("servers") or [] if isinstance(server, dict)]
    url = str(servers[0].get("url", "")) if servers else ""
    made = Drafted([], {}, url=url if url.startswith("http") else "", needs_token=_secured(document))
    for path, item in paths.items():
        if not isinstance(item, dict) or not str(path).startswith("/"):
            continue
        if not made.ready and "get" in item and _READY.search(path) and "{" not in path:
            made.ready = path
            continue
        for method in _METHODS:
            if isinstance(item.get(method), dict):
                _add(made, document, method.upper(), str(path), item, item[method])
    return made


def _add(
    made: Drafted,
    document: Mapping[str, Any],
    method: str,
    path: str,
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
) -> None:
    name = unique_name(name_of_path(method, path), [one.name for one in made.requests])
    request = DraftedRequest(name, method, path, _status(operation))
    query = []
    for parameter in _parameters(document, item, operation):
        if parameter.get("in") == "path" or (parameter.get("in") == "query" and parameter.get("required")):
            place = _place(made, document, request, parameter)
            if parameter["in"] == "path":
                request.path = request.path.replace("{" + str(parameter["name"]) + "}", "{" + place + "}")
            else:
                query.append(f"{quote(str(parameter['name']))}={{{place}}}")
    if query:
        request.path += "?" + "&".join(query)
    body = _resolved(document, operation.get("requestBody") or {})
    contents = body.get("content") or {}
    for kind in ("application/json", FORM):
        if content := contents.get(kind):
            example = content.get("example")
            sample = example if example is not None else _sample(document, content.get("schema") or {}, 0)
            if kind != FORM:
                request.body = sample
            elif isinstance(sample, dict):
                request.form = {str(name): str(value) for name, value in sample.items() if value is not None}
            break
    made.requests.append(request)


def _place(made: Drafted, document: Mapping[str, Any], request: DraftedRequest, parameter: Mapping[str, Any]) -> str:
    """The list of values of a parameter; one of the same name and samples is shared."""
    values, guessed = _values(document, parameter)
    name = re.sub(r"\W", "_", str(parameter["name"]))
    name = f"n_{name}" if name == "n" or name[:1].isdigit() else name
    if made.values.get(name, values) != values:
        name = unique_name(f"{request.name}_{name}", made.values)
    made.values[name] = values
    if guessed:
        request.guessed.append(name)
    return name


def _values(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> tuple[list[Any], bool]:
    schema = _resolved(document, parameter.get("schema") or {})
    examples = [
        example.get("value") for example in (parameter.get("examples") or {}).values() if isinstance(example, dict)
    ]
    for given in (examples, [parameter.get("example")], schema.get("examples") or [], [schema.get("example")],
                  schema.get("enum") or [], [schema.get("default")]):  # fmt: skip
        kept = [value for value in given if isinstance(value, str | int | float)]
        if kept:
            return kept, False
    if schema.get("type") in ("integer", "number"):
        return [max(int(schema.get("minimum", 1)), 1)], True
    return ["a"], True


def _parameters(
    document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    places = {}
    for parameter in [*(item.get("parameters") or []), *(operation.get("parameters") or [])]:
        resolved = _resolved(document, parameter)
        if "name" in resolved:
            places[resolved.get("in"), resolved["name"]] = resolved
    yield from places.values()


def _status(operation: Mapping[str, Any]) -> int:
    codes = sorted(str(code) for code in operation.get("responses") or {} if str(code).startswith("2"))
    return int(codes[0]) if codes and codes[0].isdigit() else 200


def _secured(document: Mapping[str, Any]) -> bool:
    components = document.get("components") or {}
    return bool(document.get("security") or components.get("securitySchemes"))


def _resolved(document: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """A part of the document, through its references inside it."""
    for _ in range(_DEEPEST):
        if not (isinstance(value, dict) and "$ref" in value):
            break
        place: Any = document
        for name in str(value["$ref"]).removeprefix("#/").split("/"):
            place = place.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(place, dict) else {}
        value = place
    return value if isinstance(value, dict) else {}


def _sample(document: Mapping[str, Any], schema: Any, depth: int) -> Any:
    """A value that a schema allows: its example or default, else the plainest with what it requires."""
    resolved = _resolved(document, schema)
    for name in ("example", "default"):
        if resolved.get(name) is not None:
            return resolved[name]
    if resolved.get("enum"):
        return resolved["enum"][0]
    for many in ("allOf", "anyOf", "oneOf"):
        if resolved.get(many):
            return _sample(document, resolved[many][0], depth + 1)
    kind = resolved.get("type")
    if kind == "object" or "properties" in resolved:
        if depth > _DEEPEST:
            return {}
        required = resolved.get("required") or []
        properties = resolved.get("properties") or {}
        return {name: _sample(document, properties.get(name) or {}, depth + 1) for name in required}
    if kind == "array":
        return [_sample(document, resolved.get("items") or {}, depth + 1)] if resolved.get("minItems") else []
    if kind in ("integer", "number"):
        return resolved.get("minimum", 1)
    return kind != "boolean" and "x {n}"
