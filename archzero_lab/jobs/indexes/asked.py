"""Which statements an index experiment is asked to measure, and as whom each is run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.doubts import Doubt
from archzero_lab.jobs.indexes.query_cases import busiest_statements, read_queries, understood
from archzero_lab.jobs.indexes.request import IndexRequest
from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.policy_roles import bound_roles, grant_all, is_role, make_bound_role


@dataclass(frozen=True)
class Asked:
    """`all_texts` that were asked for, the `texts` of them that the database takes, why not of the others.

    `roles`: text -> as whom it is run, where policies bind that role; all others pass them. `doubts`: what of the list
    itself could turn a verdict.
    """

    all_texts: Mapping[str, str]
    texts: dict[str, str]
    let_go: list[str]
    notes: list[str]
    roles: Mapping[str, str]
    doubts: Sequence[Doubt] = ()


def asked_of(request: IndexRequest) -> Asked:
    """What a request asks for: statements of files, and of the given server's own statistics.

    Nothing of the database's own runs. Raises SettingsError for a role that the server has not.
    """
    texts = read_queries(request.queries) if request.queries else {}
    senders = dict.fromkeys(texts, request.role) if request.role else {}
    notes, doubts = [], []
    with connect(request.database_url, autocommit=True) as source:
        source.execute("SET default_transaction_read_only = on")
        source.execute("SET statement_timeout = '30s'")
        source.execute("SET lock_timeout = '5s'")
        if request.role and not is_role(source, request.role):
            raise SettingsError(f"--role {request.role}: that server has no such role")
        if request.from_statistics:
            busiest = busiest_statements(source, request.from_statistics)
            texts |= busiest.texts
            senders |= busiest.senders
            notes.append(
                f"{len(busiest.texts)} statements of pg_stat_statements, {busiest.share:.0%} of the database's time"
            )
            if busiest.hidden:
                hidden = f"{busiest.hidden:.0%} of the source's time is of statements that this role may not read"
                notes.append(f"{hidden}: GRANT pg_read_all_stats to it")
                doubts.append(Doubt(f"{hidden}, and one of them may need it", everywhere=True))
        bound = bound_roles(source, set(senders.values()))
        if request.role and request.role not in bound:
            notes.append(f"no policy binds {request.role}: its statements are measured as the owner's")
        source.cursor_factory = psycopg.RawCursor  # type: ignore[assignment,unused-ignore]
        queries, reasons = understood(source, texts)
    return Asked(
        texts, queries, reasons, notes, {name: role for name, role in senders.items() if role in bound}, doubts
    )


def make_roles(source_url: str, url: str, admin_url: str, names: Collection[str]) -> dict[str, str]:
    """Make roles on a copy as its source has them; the URL to connect as each. Raises DatabaseError."""
    if not names:
        return {}
    with (
        connect(source_url, autocommit=True) as source, connect(admin_url, autocommit=True) as admin,
        connect(url, autocommit=True) as owner,
    ):  # fmt: skip
        source.read_only = True
        admin.execute("SET search_path = pg_catalog")
        made = {name: make_bound_role(source, admin, url, name) for name in sorted(names)}
        grant_all(owner, made)
    return made
