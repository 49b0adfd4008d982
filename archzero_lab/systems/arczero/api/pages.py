"""GET / and /docs: the service's OpenAPI document as a page that needs no script and no network."""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from html import escape
from typing import Any

from litestar import Litestar, MediaType, Request, get

_STYLE = """
:root { color-scheme: light dark; --line: #d5dae0; --quiet: #57606a; --soft: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --line: #3a424a; --quiet: #a3adb7; --soft: #1e2327; } }
body { margin: 0 auto; padding: 24px 16px 64px; max-width: 900px; font: 16px/1.5 system-ui, sans-serif; }
h2 { margin: 32px 0 8px; text-transform: capitalize; } p { margin: 6px 0; } .quiet { color: var(--quiet); }
details { border-bottom: 1px solid var(--line); padding: 8px 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
code { background: var(--soft); padding: 1px 5px; border-radius: 4px; overflow-wrap: anywhere; }
.method { display: inline-block; min-width: 4.5em; font-weight: 700; }
table { border-collapse: collapse; width: 100%; }
td { text-align: left; padding: 4px 12px 4px 0; vertical-align: top; }
"""
_METHODS = ("get", "post", "put", "delete")


@get(["/", "/docs"], media_type=MediaType.HTML, include_in_schema=False)
async def page(request: Request[Any, Any, Any]) -> str:
    """What can be asked of this service, and how."""
    title, operations = _operations(request.app)
    version = escape(importlib.metadata.version("archzero-lab"))
    here = escape(str(request.base_url))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f'<h1>{title}</h1><p>Cards and relationships of an enterprise architecture. <span class="quiet">archzero-lab '
        f'{version}</span></p><p><a href="/api/v1/health">health</a> · <a href="/api/v1/cache/stats">cache</a> · '
        f'<a href="/metrics">metrics</a> · <a href="/api-docs/openapi.json">OpenAPI as JSON</a></p>'
        f"<p>Try: <code>curl -s {here}api/v1/cards?pageSize=2</code></p>{operations}</body></html>"
    )


@lru_cache(4)
def _operations(app: Litestar) -> tuple[str, str]:
    """The title and the operations by tag, as HTML."""
    schema = app.openapi_schema.to_schema()
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                by_tag.setdefault((operation.get("tags") or ["other"])[0], []).append(
                    _operation(method, path, operation)
                )
    parts = "".join(
        f"<section><h2>{escape(tag)}</h2>{''.join(operation)}</section>" for tag, operation in by_tag.items()
    )
    return escape(str(schema["info"]["title"])), parts


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    first, _, rest = str(operation.get("description", "")).partition("\n")
    rows = "".join(_parameter(one) for one in operation.get("parameters", []))
    parameters = f"<table>{rows}</table>" if rows else ""
    body = '<p class="quiet">Takes a JSON body.</p>' if "requestBody" in operation else ""
    answers = ", ".join(f"<code>{escape(status)}</code>" for status in operation.get("responses", {}))
    return (
        f'<details><summary><span class="method">{method.upper()}</span> <code>{escape(path)}</code> '
        f'<span class="quiet">{escape(first)}</span></summary>'
        f"<p>{escape(rest.strip())}</p>{parameters}{body}<p>Answers {answers}</p></details>"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    shape = parameter.get("schema", {})
    kinds = [one.get("type") for one in shape.get("oneOf", [shape]) if one.get("type") not in (None, "null")]
    needed = "required" if parameter.get("required") else ""
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
        f"<td>{escape(', '.join(map(str, kinds)))}</td>"
        f"<td>{needed} {escape(str(parameter.get('description', '')))}</td></tr>"
    )
