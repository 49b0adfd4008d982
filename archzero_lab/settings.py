"""Settings: archzero.toml, then ARCHZERO_* variables over it; read once, frozen."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from archzero_lab.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: where sql/, notebooks/, loadtests/ and reports/ lie."""

STATE = Path(os.environ.get("ARCHZERO_STATE", ROOT / ".lab")).resolve()
"""What is running, logs and locks. Another folder makes another stack, side by side with the first."""

REPORTS = Path(os.environ.get("ARCHZERO_REPORTS", ROOT / "reports")).resolve()
"""Where runs are written."""

DATABASE_PREFIX = "archzero_lab_"
"""Every database that the lab creates begins with this; it never drops one that does not."""


@dataclass(frozen=True)
class CacheSettings:
    """How the cache behaves. TTLs are phase 5's; jitter takes up to that share off each TTL at random.

    `timeout_s` bounds every round trip to Redis. `near_bytes` 0 turns the cache in the process off.
    `stale_s`: how long after its expiry a list or search is still served while it is loaded anew (never after a write).
    See cache.link for licence_s.
    """

    ttl_list_s: float = 900.0
    ttl_card_s: float = 3600.0
    ttl_graph_s: float = 1800.0
    ttl_search_s: float = 600.0
    ttl_relationships_s: float = 900.0
    ttl_jitter: float = 0.1
    timeout_s: float = 0.05
    lease_s: float = 5.0
    fence_s: float = 60.0
    ttl_not_found_s: float = 5.0
    stale_s: float = 300.0
    breaker_failures: int = 3
    heartbeat_s: float = 0.1
    licence_s: float = 0.5
    pool_size: int = 8
    near_bytes: int = 32 * 1024 * 1024
    near_ttl_s: float = 30.0


@dataclass(frozen=True)
class PoolSettings:
    """The connection pool, with the defaults of phase 5 (see docs/connection-pool.md)."""

    max_size: int = 15
    min_size: int = 5
    acquire_timeout_s: float = 30.0
    max_idle_s: float = 600.0
    max_lifetime_s: float = 1800.0
    check_before_use: bool = True


@dataclass(frozen=True)
class Settings:
    """All settings. `servers` is "embedded" (from the lock) or "system" (the machine's own programs).

    `database_url` or `redis_url`, when set, put a running server in the place of one that the lab starts.
    `admin_token` guards cache flush and stats reset; without one they answer loopback clients only.
    """

    servers: str = "embedded"
    database_url: str = ""
    redis_url: str = ""
    admin_token: str = ""
    cache: CacheSettings = field(default_factory=CacheSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read archzero.toml (`path`, default the checkout's, may be missing) and ARCHZERO_* over it.

    A nested setting is `[cache] timeout_s = 0.1` in the file and ARCHZERO_CACHE_TIMEOUT_S outside.
    Raises SettingsError for an unknown name or a value of the wrong kind.
    """
    source = path if path is not None else ROOT / "archzero.toml"
    table: dict[str, Any] = {}
    if source.exists():
        try:
            table = tomllib.loads(source.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{source.name} is not valid TOML: {error}; mend the line and run again") from None
    settings = _from_table(table, source.name)
    settings = _from_environ(settings, os.environ if environ is None else environ)
    if settings.servers not in ("embedded", "system"):
        raise SettingsError(f"servers = '{settings.servers}' is unknown; use 'embedded' or 'system'")
    return settings


def _from_table(table: dict[str, Any], where: str) -> Settings:
    sections: dict[str, Any] = {"cache": CacheSettings(), "pool": PoolSettings()}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name == "gate":
            continue  # its rules are read by ./lab gate
        if name in sections:
            if not isinstance(value, dict):
                raise SettingsError(f"{where}: [{name}] must be a table")
            for key, inner in value.items():
                sections[name] = _set(sections[name], key, inner, f"{where}: {name}.{key}")
        else:
            _set(Settings(), name, value, f"{where}: {name}")
            values[name] = value
    return Settings(**values, **sections)


def _from_environ(settings: Settings, environ: Mapping[str, str]) -> Settings:
    top = {f"ARCHZERO_{f.name.upper()}": f.name for f in fields(Settings) if f.name not in ("cache", "pool")}
    for variable, name in top.items():
        if variable in environ:
            settings = _set(settings, name, environ[variable], variable)
    for section in ("cache", "pool"):
        part = getattr(settings, section)
        for f in fields(part):
            variable = f"ARCHZERO_{section.upper()}_{f.name.upper()}"
            if variable in environ:
                part = _set(part, f.name, environ[variable], variable)
        settings = replace(settings, **{section: part})
    return settings


def _set(target: Any, name: str, value: Any, where: str) -> Any:
    kinds = get_type_hints(type(target))
    if name not in kinds:
        raise SettingsError(f"{where} is unknown; known: {', '.join(kinds)}")
    kind = kinds[name]
    try:
        if kind is bool:
            if isinstance(value, str):
                value = {"1": True, "true": True, "0": False, "false": False}[value.lower()]
            elif not isinstance(value, bool):
                raise ValueError
        elif kind is float and not isinstance(value, bool):
            value = float(value)
        elif kind is int and not isinstance(value, bool):
            value = int(value)
        elif kind is not str or not isinstance(value, str):
            raise ValueError
    except (KeyError, ValueError, TypeError):
        raise SettingsError(f"{where} = {value!r} is not a {kind.__name__}; correct it and run again") from None
    return replace(target, **{name: value})
