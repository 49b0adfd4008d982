"""Settings: archzero.toml, then ARCHZERO_* variables over it; read once, frozen."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from archzero_lab.errors import SettingsError

_PACKAGE = Path(__file__).resolve().parent
IN_CHECKOUT = (_PACKAGE.parent / "sql" / "schema.sql").exists()
"""Whether this is the lab's own tree, and not a package that was installed."""

CHECKOUT = _PACKAGE.parent
"""The lab's own tree, where IN_CHECKOUT."""

RESOURCES = CHECKOUT if IN_CHECKOUT else _PACKAGE / "resources"
"""Where sql/, notebooks/ and loadtests/ lie: at the top of a checkout, inside a package that was installed."""

PROJECT_FILE = "archzero.toml"
"""Settings, and in a team's own repository what its service is (docs/your-service.md)."""


def _found_upwards(start: Path) -> Path | None:
    """The nearest folder, from here upwards, that holds an archzero.toml."""
    return next((folder for folder in (start, *start.parents) if (folder / PROJECT_FILE).is_file()), None)


ROOT = Path(
    os.environ.get("ARCHZERO_HOME") or _found_upwards(Path.cwd()) or (_PACKAGE.parent if IN_CHECKOUT else Path.cwd())
).resolve()
"""Where archzero.toml, .lab/ and reports/ lie: found upwards from where the lab is called, else the checkout."""

STATE = Path(os.environ.get("ARCHZERO_STATE", ROOT / ".lab")).resolve()
"""What is running, logs and locks. Another folder makes another stack, side by side with the first."""

REPORTS = Path(os.environ.get("ARCHZERO_REPORTS", ROOT / "reports")).resolve()
"""Where runs are written."""


def keep_out_of_git(folder: Path) -> None:
    """Make a folder of ours; in somebody's repository git is told to leave it alone, as pytest does with its cache."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not ROOT.is_relative_to(CHECKOUT) and not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n")


COMMAND = "./lab" if IN_CHECKOUT else "lab"
"""How a person calls the lab here."""

TURNS = Path(os.environ.get("ARCHZERO_TURNS") or Path.home() / ".cache" / "archzero-lab").resolve()
"""Where experiments of one user's on one machine wait for each other, whatever checkout or kernel they run in."""

DATABASE_PREFIX = "archzero_lab_"
"""Every database that the lab creates begins with this; it never drops one that does not."""


@dataclass(frozen=True)
class CacheSettings:
    """How the cache behaves. TTLs are phase 5's; jitter takes up to that share off each TTL at random.

    `timeout_s` bounds every round trip to Redis. `near_bytes` 0 turns the cache in the process off.
    `stale_s`: how long after its expiry a list or search is still served while it is loaded anew (never after a write).
    See cache.link for licence_s. `outbox_period_s`: how often what finished writes left in the outbox is cleared.
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
    outbox_period_s: float = 0.25
    pool_size: int = 8
    near_bytes: int = 32 * 1024 * 1024
    near_ttl_s: float = 30.0


@dataclass(frozen=True)
class PoolSettings:
    """The connection pool: phase 5's settings, with waits that end before a client's patience does.

    `statement_timeout_s` and `lock_timeout_s` are PostgreSQL's own, of a request's statements (the latter
    above its deadlock_timeout, else a deadlock is never seen as one); `client_share` is how much of the pool one
    address may have. An experiment's arms wait as long as phase 5 does (PATIENT) and give their
    one client all: what is slow is measured there, not refused (docs/connection-pool.md).
    """

    max_size: int = 15
    min_size: int = 5
    acquire_timeout_s: float = 2.0
    statement_timeout_s: float = 5.0
    lock_timeout_s: float = 1.5
    client_share: float = 0.8
    max_idle_s: float = 600.0
    max_lifetime_s: float = 1800.0
    check_before_use: bool = True


@dataclass(frozen=True)
class ReplicaSettings:
    """Read replicas: each server is asked every `poll_s` where it is; one that may be further behind than `most_lag_s`
    answers nobody who did not say what he must see; a read waits `wait_s` for one that is nearly there."""

    poll_s: float = 0.05
    most_lag_s: float = 1.0
    wait_s: float = 0.003


PATIENT = 30.0
"""Phase 5's acquire_timeout in seconds."""


def patient(pool: PoolSettings) -> PoolSettings:
    """The same pool with each wait at least as long as phase 5's, for one client."""
    return replace(
        pool,
        acquire_timeout_s=max(PATIENT, pool.acquire_timeout_s),
        statement_timeout_s=max(PATIENT, pool.statement_timeout_s),
        lock_timeout_s=max(PATIENT, pool.lock_timeout_s),
        client_share=1.0,
    )


@dataclass(frozen=True)
class Settings:
    """All settings. `servers` is "embedded" (from the lock) or "system" (the machine's own programs).

    `database_url` or `redis_url`, when set, put a running server in the place of one that the lab starts.
    `admin_token` guards cache flush and stats reset; without one they answer loopback clients only.
    `database_replicas` are URLs of its streaming replicas, with commas between them: `[database] replicas = [...]`.
    `allowed_hosts` are names, with commas between them, by which a service is reached beside this machine's own.
    """

    servers: str = "embedded"
    database_url: str = ""
    database_replicas: str = ""
    redis_url: str = ""
    admin_token: str = ""
    allowed_hosts: str = ""
    cache: CacheSettings = field(default_factory=CacheSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    replica: ReplicaSettings = field(default_factory=ReplicaSettings)


_SECTIONS = (CacheSettings, PoolSettings, ReplicaSettings)
OF_A_PROJECT = (
    "service", "database", "redis", "arms", "requests", "values", "claims", "counters", "gate", "load", "work",
)  # fmt: skip
"""Tables of archzero.toml that are no settings of the lab's: a team's own service."""


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read archzero.toml (`path`, default the checkout's, may be missing) and ARCHZERO_* over it.

    A nested setting is `[cache] timeout_s = 0.1` in the file and ARCHZERO_CACHE_TIMEOUT_S outside.
    Raises SettingsError for an unknown name or a value of the wrong kind.
    """
    source = path if path is not None else ROOT / PROJECT_FILE
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
    sections = _sections()
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name == "database" and isinstance(value, dict) and "replicas" in value:
            urls = value["replicas"]
            if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
                raise SettingsError(f"{where}: database.replicas must be a list of URLs")
            values["database_replicas"] = ",".join(urls)
        if name in OF_A_PROJECT:
            continue  # read by ./lab gate and by systems.team
        if name not in sections:
            values[name] = _converted(Settings, name, value, f"{where}: {name}", strict=True)
            continue
        if not isinstance(value, dict):
            raise SettingsError(f"{where}: [{name}] must be a table")
        kind = sections[name]
        values[name] = kind(
            **{key: _converted(kind, key, v, f"{where}: {name}.{key}", strict=True) for key, v in value.items()}
        )
    return Settings(**values)


def _from_environ(settings: Settings, environ: Mapping[str, str]) -> Settings:
    sections = _sections()

    def read(kind: type, prefix: str, given: Any) -> dict[str, Any]:
        values = {}
        for f in fields(kind):
            variable = f"{prefix}{f.name.upper()}"
            if f.name in sections and kind is Settings:
                part = getattr(given, f.name)
                values[f.name] = sections[f.name](**read(sections[f.name], variable + "_", part))
            elif variable in environ:
                values[f.name] = _converted(kind, f.name, environ[variable], variable, strict=False)
            else:
                values[f.name] = getattr(given, f.name)
        return values

    return Settings(**read(Settings, "ARCHZERO_", settings))


def _sections() -> dict[str, type]:
    return {name: kind for name, kind in get_type_hints(Settings).items() if issubclass(kind, _SECTIONS)}


def _converted(of: type, name: str, value: Any, where: str, *, strict: bool) -> Any:
    """A value as the field of that name wants it; `strict` False reads numbers and truths from text."""
    kinds = get_type_hints(of)
    if name not in kinds:
        raise SettingsError(f"{where} is unknown; known: {', '.join(kinds)}")
    try:
        return msgspec.convert(value, kinds[name], strict=strict)
    except msgspec.ValidationError:
        kind = kinds[name].__name__
        raise SettingsError(f"{where} = {value!r} is not a {kind}; correct it and run again") from None
