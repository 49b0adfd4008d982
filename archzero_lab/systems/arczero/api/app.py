"""The HTTP application: routes and errors around a Service; HTTP only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from archzero_lab.systems.arczero.api import cache, cards, graph, health, imports, pages, relationships
from archzero_lab.systems.arczero.api.allowed_methods import tell_allowed
from archzero_lab.systems.arczero.api.errors import HANDLERS
from archzero_lab.systems.arczero.api.service import Service
from archzero_lab.systems.arczero.api.unknown_parameters import look_at_parameters, tell_ignored
from archzero_lab.systems.arczero.api.wire import is_strict
from archzero_lab.systems.arczero.cards.model import MAX_CARD_BYTES
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.request_context import STRICT


def create_app(open_service: Callable[[], AbstractAsyncContextManager[Service]]) -> Litestar:
    """The application; `open_service` makes the service inside each worker process and closes it at the end."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            yield

    def provide_service() -> Service:
        service: Service = app.state.service
        return service

    def provide_cards() -> Cards:
        return provide_service().cards

    async def look_at(request: Request[Any, Any, Any]) -> None:
        await look_at_parameters(request)
        STRICT.set(is_strict(request.headers.get("cache-control")))

    app = Litestar(
        route_handlers=[
            cards.router,
            relationships.router,
            graph.router,
            imports.router,
            cache.router,
            health.health,
            health.metrics,
            pages.page,
        ],
        dependencies={
            "service": Provide(provide_service, sync_to_thread=False),
            "cards": Provide(provide_cards, sync_to_thread=False),
        },
        lifespan=[lifespan],
        before_request=look_at,
        before_send=[tell_ignored, tell_allowed],
        exception_handlers=HANDLERS,
        request_max_body_size=MAX_CARD_BYTES,
        openapi_config=OpenAPIConfig(
            title="Arc Zero card service",
            version="1",
            path="/api-docs",
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin()],
        ),
    )
    return app
