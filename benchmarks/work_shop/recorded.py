"""The shop's handlers called as they stand, with other ends: statements noted, or under django-perf-rec.

    python recorded.py REQUESTS.json statements         # what each kind of request sends, as JSON
    python recorded.py REQUESTS.json perf-rec           # the kinds that do not match their record, as JSON

Run in the folder of a shop by work_peers.py, in a Python that has Django and django-perf-rec.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def main() -> None:
    requests = json.loads(Path(sys.argv[1]).read_text())
    ends = {"statements": statements, "perf-rec": perf_rec}
    print(json.dumps(ends[sys.argv[2]](requests)))


def called(app: Any, kind: str, given: list[Any]) -> Any:
    """One request of a kind."""
    if kind == "order":
        return app.order.fn(app.NewOrder(*given))
    handler = {"list": app.products, "detail": app.product}.get(kind) or getattr(app, kind)
    return handler.fn(*given)


def statements(requests: list[tuple[str, list[Any]]]) -> list[tuple[str, list[tuple[str, list[Any]]]]]:
    """Of each request the statements with their values, in order, the cache emptied."""
    import app
    import psycopg
    import redis
    from psycopg.rows import dict_row

    noted: list[tuple[str, list[Any]]] = []
    cache = redis.Redis.from_url(os.environ["REDIS_URL"])
    with psycopg.connect(os.environ["DATABASE_URL"], row_factory=dict_row, autocommit=True) as connection:

        def rows(sql: str, *values: Any) -> list[dict[str, Any]]:
            noted.append((sql, list(values)))
            with connection.transaction(force_rollback=True):
                found = connection.execute(sql.encode(), values)
                return found.fetchall() if found.description else []

        app.rows, app.cache = rows, cache
        done = []
        for kind, given in requests:
            cache.flushdb()
            called(app, kind, given)
            done.append((kind, noted[:]))
            noted.clear()
        return done


def perf_rec(requests: list[tuple[str, list[Any]]]) -> list[str]:
    """The kinds whose statements or cache operations are not as they were recorded, asked twice from an empty cache."""
    import django
    from django.conf import settings

    url = urlsplit(os.environ["DATABASE_URL"])
    settings.configure(
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": url.path.lstrip("/"), "USER": url.username,
            "PASSWORD": unquote(url.password or ""), "HOST": url.hostname, "PORT": url.port,
        }},
        CACHES={"default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"],
        }},
    )  # fmt: skip
    django.setup()
    import app
    import django_perf_rec
    from django.core.cache import cache
    from django.db import connection, transaction

    class Cache:
        """What the shop asks of redis-py, by Django's cache; KEYS is nothing that Django has."""

        get, delete, exists = staticmethod(cache.get), staticmethod(cache.delete), staticmethod(cache.has_key)

        def set(self, key: str, value: bytes, ex: int | None = None) -> None:
            cache.set(key, value, ex)

        def expire(self, key: str, seconds: int) -> None:
            cache.touch(key, seconds)

        def keys(self, pattern: str) -> list[bytes]:
            return list(cache._cache.get_client().keys(pattern))

    def rows(sql: str, *values: Any) -> list[dict[str, Any]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []

    app.rows, app.cache = rows, Cache()
    wrong = []
    for kind in dict.fromkeys(kind for kind, _ in requests):
        given = next(given for one, given in requests if one == kind)
        cache.clear()
        try:
            with transaction.atomic():
                with django_perf_rec.record(record_name=kind, path=str(Path("shop.perf.yml").resolve())):
                    called(app, kind, given)
                    called(app, kind, given)
                transaction.set_rollback(True)
        except AssertionError:
            wrong.append(kind)
    return wrong


if __name__ == "__main__":
    main()
