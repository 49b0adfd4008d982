"""Query parameters that a path has not: named in a header of the answer, or refused where `?strict` asks for that."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote

from litestar import Request
from litestar.datastructures import MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import Message, Scope

from archzero_lab.systems.arczero.api.errors import BadParameter

HEADER = "X-Ignored-Parameters"
_STRICT = "strict"
_STATE = "ignored_parameters"
_MOST = 10


def ignored(scope: Scope) -> list[str]:
    """The parameters of a request that nothing read; empty where there are none."""
    names: list[str] = scope["state"].get(_STATE, [])
    return names


async def look_at_parameters(request: Request[Any, Any, Any]) -> None:
    """Note what a request has beside the parameters of its path. Raises BadParameter where it asks to be told so."""
    query = request.scope["query_string"]
    if not query:
        return
    given = list(dict.fromkeys(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
    known = _known(request.route_handler)
    unknown = [name for name in given if name not in known and name != _STRICT]
    if unknown and _STRICT in given:
        raise BadParameter(unknown[0], f"unknown parameter; known: {', '.join(known) or 'none'}")
    request.scope["state"][_STATE] = unknown


async def tell_ignored(message: Message, scope: Scope) -> None:
    """Name what was ignored in the answer's header, percent-encoded."""
    if message["type"] == "http.response.start" and (names := ignored(scope)):
        MutableScopeHeaders(message)[HEADER] = ", ".join(quote(name[:64]) for name in names[:_MOST])


@lru_cache(64)
def _known(handler: BaseRouteHandler) -> tuple[str, ...]:
    """The names of a handler's query parameters, as a client sends them."""
    fields = handler.parsed_fn_signature.parameters.items()
    return tuple(
        field.kwarg_definition.name or name
        for name, field in fields
        if isinstance(field.kwarg_definition, QueryParameter)
    )
