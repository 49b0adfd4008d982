"""What a client has seen and written, carried in a header: a read after it is answered by who has replayed all of it.

Archzero-Position is in every answer that came from the database itself. Who sends the last one with the next request
reads his own writes, and never something older than he has read.
"""

from __future__ import annotations

from typing import Any

from archzero_lab.postgres.positions import SESSION, Position, Session
from archzero_lab.systems.arczero.api.wire import of_error, send_answer

HEADER = b"archzero-position"
_READS = ("GET", "HEAD")


class Positions:
    """An ASGI application around a service's that has replicas; `app.state.service.replicas` judges positions."""

    def __init__(self, app: Any, inner: Any) -> None:
        self._app, self._inner = app, inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand on, with what the request must see; what was seen is told with the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        needed, trouble = None, None
        for text in (value.decode("latin-1") for name, value in scope["headers"] if name == HEADER):
            try:
                needed = Position.parse(text.strip())
            except ValueError as error:
                trouble = str(error)
            else:
                trouble = self._inner.state.service.replicas.refusal_of(needed)
        if trouble is not None:
            await send_answer(of_error(400, "bad_request", trouble, "Archzero-Position"), send)
            return
        session = Session(needed, primary=scope["method"] not in _READS)
        SESSION.set(session)

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start" and session.seen is not None:
                message = {**message, "headers": [*message["headers"], header_of(session)]}
            await send(message)

        await self._app(scope, receive, sending)


def header_of(session: Session) -> tuple[bytes, bytes]:
    """What tells a client as of where he was answered."""
    return HEADER, str(session.seen).encode()
