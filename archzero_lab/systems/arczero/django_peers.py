"""Django's caches of queries in front of the same cards: django-cacheops and django-cachalot, as documented by them.

Both keep results by statement. cacheops forgets them by the equality conditions that a changed row met or meets,
cachalot by table. Reads and writes go through Django's ORM on threads, since both hang on it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg
import redis

from archzero_lab.postgres.connection import connection_parts
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cards.model import CardFilter, CardPatch, Document, IfMatch, NotFound, Unavailable

DJANGO_PEERS = ("django-cacheops", "django-cachalot")
_THREADS = 8
_NAMES = {
    "id": "id", "name": "name", "type": "type", "lifecycle_phase": "lifecyclePhase", "quality_score": "qualityScore",
    "description": "description", "owner_id": "ownerId", "created_at": "createdAt", "updated_at": "updatedAt",
    "status": "status", "version": "version",
}  # fmt: skip


class DjangoCards:
    """The reads and the update of Cards through Django's ORM, on threads of its own."""

    def __init__(self, model: Any, stall: Callable[[], None]) -> None:
        self._model, self._stall = model, stall
        self._threads = ThreadPoolExecutor(_THREADS, "django")

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound, or Unavailable where the database or the cache does not answer."""
        return await self._run(lambda: self._model.objects.filter(pk=card_id).values(*_NAMES).get())

    async def cards(self, question: CardFilter) -> Document:
        """The first page of an owner's cards, by a text if one is given. Raises Unavailable."""
        from django.db.models import Q

        def read() -> dict[str, Any]:
            found = self._model.objects.filter(owner_id=question.owner_id)
            if question.q is not None:
                found = found.filter(Q(name__icontains=question.q) | Q(description__icontains=question.q))
            rows = found.order_by("-created_at", "-id").values(*_NAMES)[: question.page_size]
            return {"data": [_document(row) for row in rows], "total": len(rows)}

        return await self._run(read)

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_match: IfMatch = None) -> Document:
        """Change a card's score and save it, which both libraries hear of. Raises NotFound, Unavailable."""

        from django.db import transaction

        def write() -> dict[str, Any]:
            with transaction.atomic():
                transaction.on_commit(self._stall)  # before the libraries forget what was changed
                rows = self._model.objects.select_for_update()
                card = (rows.nocache() if hasattr(rows, "nocache") else rows).get(pk=card_id)
                card.quality_score, card.version = patch.quality_score, card.version + 1
                card.updated_at = dt.datetime.now(dt.UTC)
                card.save(update_fields=["quality_score", "version", "updated_at"])
                return {name: getattr(card, name) for name in _NAMES}

        return await self._run(write)

    async def _run(self, work: Callable[[], dict[str, Any]]) -> Document:
        from django.core.exceptions import ObjectDoesNotExist
        from django.db import DatabaseError

        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ObjectDoesNotExist:
            raise NotFound("no such card") from None
        except (redis.RedisError, DatabaseError, psycopg.Error, OSError, TimeoutError) as error:
            raise Unavailable(f"django: {type(error).__name__}") from None
        whole = found if "data" in found else _document(found)
        return Document(msgspec.json.encode(whole), "", found.get("version", 0))

    def close(self) -> None:
        """End the threads; their connections end with the process."""
        self._threads.shutdown()


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {_NAMES[name]: value for name, value in row.items()}


@asynccontextmanager
async def open_django(
    name: str,
    database_url: str,
    redis_url: str,
    namespace: str,
    settings: CacheSettings,
    stalled: float,
    stall_s: float,
) -> AsyncIterator[DjangoCards]:
    """The cards behind one of DJANGO_PEERS, once in a process: Django is set up for all of it.

    A share `stalled` of what is read reaches the process up to `stall_s` late, between a load and its fill, and as many
    commits are told as late to the libraries: what the harness' own pool does to other caches.
    """
    import django
    from django.conf import settings as configuration

    library = name.removeprefix("django-")
    parts = connection_parts(database_url)
    configuration.configure(
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": parts["dbname"], "USER": parts.get("user", ""),
            "PASSWORD": parts.get("password", ""), "HOST": parts.get("host", ""), "PORT": parts.get("port", ""),
            "CONN_MAX_AGE": None, "OPTIONS": {"connect_timeout": 5},
        }},
        INSTALLED_APPS=[library], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url,
                            "KEY_PREFIX": namespace, "TIMEOUT": int(settings.ttl_card_s)}},
        CACHALOT_TIMEOUT=int(settings.ttl_card_s),
        CACHEOPS_REDIS=redis_url, CACHEOPS_PREFIX=lambda query: f"{namespace}:",
        CACHEOPS={f"{library}.*": {"ops": "all", "timeout": int(settings.ttl_card_s)}},
    )  # fmt: skip
    django.setup()
    from django.db import models
    from django.db.backends.signals import connection_created

    class Card(models.Model):  # type: ignore[misc, unused-ignore]
        """The lab's table as it is."""

        id = models.UUIDField(primary_key=True)
        name = models.TextField()
        type = models.TextField()
        lifecycle_phase = models.TextField()
        quality_score = models.IntegerField()
        description = models.TextField()
        owner_id = models.UUIDField(null=True)
        created_at = models.DateTimeField()
        updated_at = models.DateTimeField()
        status = models.TextField()
        version = models.IntegerField()

        class Meta:
            managed = False
            db_table = "cards"
            app_label = library

    def stall() -> None:
        if random.random() < stalled:
            time.sleep(random.random() * stall_s)

    def late(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        answer = execute(sql, params, many, context)
        if not context["connection"].in_atomic_block:
            stall()
        return answer

    def wrap(connection: Any, **_: Any) -> None:
        if late not in connection.execute_wrappers:
            connection.execute_wrappers.append(late)

    connection_created.connect(wrap, weak=False)
    cards = DjangoCards(Card, stall)
    try:
        yield cards
    finally:
        await asyncio.to_thread(cards.close)
