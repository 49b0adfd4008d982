"""Which methods a path has, told where RFC 9110 wants it: with OPTIONS, and with 405 (15.5.6)."""

from __future__ import annotations

from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope


async def tell_allowed(message: Message, scope: Scope) -> None:
    """Set Allow on an answer that has to have it."""
    if message["type"] != "http.response.start":
        return
    if message["status"] == 405 or scope.get("method") == "OPTIONS":
        MutableScopeHeaders(message)["Allow"] = ", ".join(allowed(scope["litestar_app"], scope["path"]))


def allowed(app: Litestar, path: str) -> list[str]:
    """The methods of a path, HEAD with GET; none where there is no such path."""
    parts = path.strip("/").split("/")
    methods: set[str] = set()
    for route in app.routes:
        form = route.path_format.strip("/").split("/")
        if len(form) == len(parts) and all(a == b or a.startswith("{") for a, b in zip(form, parts, strict=True)):
            methods |= set(getattr(route, "methods", ()))
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
