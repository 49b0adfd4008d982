"""What `lab indexes` is asked for: the system's own migration at a size, or one for a database of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.verdict import READS_PER_WRITE
from archzero_lab.servers.copy_server import WantedServer


@dataclass(frozen=True)
class IndexRequest:
    """What `lab indexes` was asked for: the system's own migration at a size, or a database with one and queries."""

    size: int = 20_000
    seed: int = 1
    blocks: int = 10
    reads_per_write: float = READS_PER_WRITE
    database_url: str = ""
    migration: Path | None = None
    queries: Path | None = None
    from_statistics: int = 0
    files: Mapping[str, Path] = field(default_factory=dict)
    sample: int = 0
    server: WantedServer = field(default_factory=WantedServer)
    strict: bool = False
    values_from: Path | None = None
    budget_s: float = 0.0
    role: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def check_request(request: IndexRequest) -> None:
    """Raise SettingsError for what cannot be meant, before anything is started."""
    if request.database_url and request.migration is None:
        raise SettingsError("--database-url needs --migration FILE.sql: the indexes to try on a copy of it")
    if request.database_url and not (request.queries or request.from_statistics):
        raise SettingsError("--database-url needs --queries DIR or --from-pg-stat-statements N: what reads it")
    if not request.database_url and (request.migration or request.queries or request.from_statistics):
        raise SettingsError("--migration and --queries are for a database of your own: give --database-url")
    if request.sample and not request.database_url:
        raise SettingsError("--sample is of a database of your own: give --database-url, or --cards for the lab's own")
    if not request.database_url and (request.server != WantedServer() or request.strict or request.values_from):
        raise SettingsError(
            "--server-version, --copy-on, --strict and --values-from are of a database of your own: --database-url"
        )
    if not request.database_url and (request.role or request.settings):
        raise SettingsError("--role and --set are of a database of your own: give --database-url")
    if request.migration is not None and not request.migration.is_file():
        raise SettingsError(f"--migration {request.migration}: no such file")
