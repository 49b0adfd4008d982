"""How long the lab takes to generate and load a portfolio, beside psql's own COPY of the same rows from files.

    PYTHONPATH=. .venv/bin/python benchmarks/load_portfolio.py --cards 1000000

Interleaved rounds in one run. psql copies prepared files two ways: into tables with their keys in place, and, the
faster way, into bare tables whose keys are added after (what the lab does too). Prints JSON with the ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.postgres_server import embedded_programs
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import ROOT, load_settings
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio
from archzero_lab.systems.arczero.cards.loading import CARD_COPY, RELATIONSHIP_COPY, load_portfolio


def by_psql(stack: Stack, url: str, folder: Path, *, keys_first: bool) -> float:
    """Seconds for psql: tables, keys, COPY of both files, VACUUM ANALYZE."""
    copies = [
        f"\\{CARD_COPY.replace('STDIN', repr(str(folder / 'cards')))}",
        f"\\{RELATIONSHIP_COPY.replace('STDIN', repr(str(folder / 'relationships')))}",
    ]
    schema, keys = [f"\\i {ROOT / 'sql' / 'schema.sql'}"], [f"\\i {ROOT / 'sql' / 'constraints.sql'}"]
    steps = [*schema, *keys, *copies] if keys_first else [*schema, *copies, *keys]
    script = folder / "script.sql"
    script.write_text("\n".join(["\\set ON_ERROR_STOP on", *steps, "VACUUM ANALYZE;"]))
    began = time.perf_counter()
    environment = {"PGPASSWORD": urlsplit(url).password or "", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [str(embedded_programs() / "psql"), "-q", "-f", str(script), url], check=True, env=environment,
        capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - began


def by_lab(url: str, portfolio: GeneratedPortfolio) -> float:
    """Seconds for the lab: rows made and loaded, keys, VACUUM ANALYZE."""
    began = time.perf_counter()
    with connect(url) as connection:
        load_portfolio(connection, portfolio)
    return time.perf_counter() - began


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    portfolio = GeneratedPortfolio(1, options.cards)
    seconds: dict[str, list[float]] = {"lab": [], "psql_keys_first": [], "psql_keys_after": []}
    with exclusive("benchmark"), tempfile.TemporaryDirectory() as name, running_stack(load_settings()) as stack:
        folder = Path(name)
        for file, chunks in (("cards", portfolio.card_chunks()), ("relationships", portfolio.relationship_chunks())):
            with (folder / file).open("wb") as handle:
                handle.writelines(chunks)
        database = stack.database_name("benchmark")
        for _ in range(options.rounds):
            for way in seconds:
                url = create_database(stack.postgres_url, database)
                took = (
                    by_lab(url, portfolio)
                    if way == "lab"
                    else by_psql(stack, url, folder, keys_first=way == "psql_keys_first")
                )
                seconds[way].append(round(took, 2))
        drop_database(stack.postgres_url, database)
    best = {way: min(times) for way, times in seconds.items()}
    print(
        json.dumps(
            {
                "cards": options.cards,
                "relationships": portfolio.relationships,
                "seconds": seconds,
                "lab_over_psql_keys_first": round(best["lab"] / best["psql_keys_first"], 2),
                "lab_over_psql_keys_after": round(best["lab"] / best["psql_keys_after"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
