"""The cache of the running service in a notebook: how often it helps, what it holds, what is asked for most."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from archzero_lab.errors import LabError
from archzero_lab.jupyter.stack import sql, stack
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.tables import whole_html
from archzero_lab.servers.stack import read_state
from archzero_lab.systems.arczero.cache.contents import Contents, read_contents
from archzero_lab.systems.arczero.cards.model import CardFilter
from archzero_lab.systems.http import call

_DEFAULT = CardFilter()


@dataclass(frozen=True)
class CacheContents:
    """Three tables: `counters` since the last reset, `kinds` (keys, memory, time to live), `hottest` questions."""

    hit_rate: float | None
    counters: Frame
    kinds: Frame
    hottest: Frame
    memory: str

    def __repr__(self) -> str:
        return f"{self._sentence()}\n{self.kinds}\n{self.hottest}"

    def _repr_html_(self) -> str:
        tables = (
            ("Reads by kind", self.counters),
            ("What it holds", self.kinds),
            ("Asked for most (each process tells every 5 s)", self.hottest),
        )
        body = "".join(f"<h4>{title}</h4>{whole_html(frame)}" for title, frame in tables if not frame.empty)
        return f"<p><strong>{self._sentence()}</strong></p>{body}"

    def _sentence(self) -> str:
        if self.hit_rate is None:
            return f"Nothing was read through the cache yet; {self.memory}"
        return f"Hit rate {self.hit_rate:.1%}; {self.memory}"


def cache_keys(hottest: int = 10) -> CacheContents:
    """Hit rate by kind, keys and memory by kind, and what is asked for most, of the running service.

    lab.cache_keys().kinds
    Raises LabError where the service or its Redis does not answer.
    """
    url = stack().service_url
    status, stats = call(url, "GET", "/api/v1/cache/stats")
    state = read_state() or {}
    namespace = (state.get("service") or {}).get("namespace")
    if status != 200 or not namespace:
        raise LabError(f"{url} does not tell of its cache ({status}); run ./lab down, then lab.stack() again")
    contents = read_contents(state["redis"]["url"], namespace, hottest)
    counters = Frame(stats["by_kind"]).T
    of_limit = f" of {contents.maxmemory / 1e6:,.0f} MB" if contents.maxmemory else ""
    memory = f"Redis uses {contents.used_memory / 1e6:,.1f} MB{of_limit}"
    return CacheContents(
        stats["hit_rate"],
        counters,
        _kinds(contents),
        _hottest(contents),
        memory + ("" if contents.whole else "; scan cut short"),
    )


def _kinds(contents: Contents) -> Frame:
    frame = Frame(
        {
            kind: {"keys": held.keys, "kB": round(held.bytes / 1000, 1), "median s to live": held.ttl_s}
            for kind, held in sorted(contents.kinds.items())
        }
    ).T
    return frame.astype({"keys": int}) if not frame.empty else frame


def _hottest(contents: Contents) -> Frame:
    ids = [what for what, _ in contents.hottest if isinstance(what, uuid.UUID)]
    names: dict[str, str] = {}
    if ids:
        rows = sql("SELECT id::text, name FROM cards WHERE id = ANY(%s)", [ids])
        names = dict(zip(rows["id"], rows["name"], strict=True))
    rows_told = [
        {"question": f"card {names.get(str(what), what)}" if isinstance(what, uuid.UUID) else _in_words(what),
         "times": count}
        for what, count in contents.hottest
    ]  # fmt: skip
    return Frame(rows_told, columns=["question", "times"]).set_index("question")


def _in_words(what: CardFilter) -> str:
    """Only what differs from the plain first page."""
    words: dict[str, Any] = {
        name: value for name, value in asdict(what).items() if value != getattr(_DEFAULT, name) and value is not None
    }
    text = ", ".join(f"{name} {getattr(value, 'value', value)}" for name, value in words.items())
    return f"{'search' if what.q is not None else 'list'}: {text or 'first page'}"
