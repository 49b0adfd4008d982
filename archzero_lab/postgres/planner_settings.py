"""Settings by which a plan is chosen and a statement understood: those of a session, given to a copy's database."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from archzero_lab.postgres.connection import Connection

_BESIDE = (
    "search_path", "work_mem", "hash_mem_multiplier", "maintenance_work_mem", "default_text_search_config",
    "DateStyle", "IntervalStyle", "TimeZone", "effective_io_concurrency", "max_parallel_workers_per_gather",
    "parallel_leader_participation", "enable_parallel_append", "standard_conforming_strings", "row_security",
)  # fmt: skip
"""Beside those that PostgreSQL files under the tuning of queries."""


def read_settings(connection: Connection) -> dict[str, str]:
    """Name -> value as SET takes it, those of the database and role included."""
    rows = connection.execute(
        "SELECT name, current_setting(name) FROM pg_settings WHERE (category LIKE 'Query Tuning%%' OR name = ANY(%s))"
        " AND context IN ('user', 'superuser') ORDER BY name",
        [list(_BESIDE)],
    ).fetchall()
    return dict(rows)


def unusual_settings(connection: Connection) -> dict[str, str]:
    """Settings of a session by which plans are chosen, where they are not PostgreSQL's own: name -> value."""
    rows = connection.execute(
        "SELECT name, current_setting(name) FROM pg_settings WHERE (category LIKE 'Query Tuning%' OR name IN"
        " ('work_mem', 'hash_mem_multiplier', 'search_path')) AND setting IS DISTINCT FROM boot_val ORDER BY name"
    ).fetchall()
    return dict(rows)


def switched_off(settings: Mapping[str, str]) -> list[str]:
    """Ways to read and join that the planner may not take, by the names of their switches."""
    return [name for name, value in settings.items() if name.startswith("enable_") and value == "off"]


def copy_settings(source: Connection, copy: Connection) -> None:
    """Give the source's settings to the copy's database, those that its server knows; for sessions to come."""
    wanted, there = read_settings(source), read_settings(copy)
    (name,) = copy.execute("SELECT current_database()").fetchone() or ("",)
    for setting, value in wanted.items():
        if there.get(setting, value) == value:
            continue
        try:
            copy.execute("SELECT pg_catalog.set_config(%s, %s, false)", [setting, value])
        except psycopg.Error:
            continue  # a value of another version's; the comparison of both tells it
        copy.execute(
            sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(sql.Identifier(name), sql.Identifier(setting))
        )
