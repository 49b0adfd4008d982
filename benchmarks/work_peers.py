"""What RegreSQL and django-perf-rec find of the changes that work_mutations.py makes, on the same shop.

    PYTHONPATH=. python benchmarks/work_peers.py --regresql PROGRAM --django PYTHON [--only NAME] [--runs 10]

RegreSQL is given each statement of each kind of request as a file, with the values of five requests: as a team would
have whose SQL lies in files. `regresql baseline --analyze` keeps its buffers. django-perf-rec is given the same
handlers with Django's connection and cache in the place of psycopg and redis-py. Both start from a database that was
loaded and vacuumed alike; what a change does to code, both see changed the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import load_settings
from benchmarks.work_mutations import SHOP, Mutation, mutations

RESULT = Path(__file__).with_name("results") / "work_peers.json"
CASES = 5
VALUES = {
    "list": "SELECT category, 0 FROM (SELECT DISTINCT category FROM products ORDER BY 1 LIMIT {0}) c",
    "detail": "SELECT id FROM products WHERE id % 100 = 7 ORDER BY id LIMIT {0}",
    "search": "SELECT left(name, 6) FROM products WHERE id < 500 ORDER BY id LIMIT {0}",
    "cheap": "SELECT * FROM (VALUES (30000), (80000), (800000)) v LIMIT {0}",
    "sold": "SELECT DISTINCT placed_on::text FROM orders ORDER BY 1 LIMIT {0}",
    "order": "SELECT id, 'number ' || id FROM products WHERE id % 100 = 7 ORDER BY id LIMIT {0}",
}
_FAILING = re.compile(r"^\s*(list|detail|search|cheap|sold|order)-\d+\.", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A shop's tree with a change, its database, and the requests that are asked."""

    tree: Path
    url: str
    redis: str
    requests: Path

    def recorded(self, python: str, how: str) -> Any:
        """What recorded.py prints."""
        done = subprocess.run(
            [python, "recorded.py", str(self.requests), how], cwd=self.tree, capture_output=True, text=True,
            env={**os.environ, "DATABASE_URL": self.url, "REDIS_URL": self.redis}, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"recorded.py {how}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])


class RegreSQL:
    """Its project of one folder; `files` are the statements by name, each with the values of its cases."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def run(self, url: str, *arguments: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            [self._program, *arguments], cwd=self._folder, capture_output=True, text=True, check=False,
            env={**os.environ, "DATABASE_URL": url},
        )  # fmt: skip
        return done.stdout + done.stderr

    def write(self, files: dict[str, tuple[str, list[list[Any]]]]) -> None:
        """The statements, and the values of each case."""
        for name, (sql, cases) in files.items():
            first, *others = sql.split("%s")
            text = first + "".join(f":p{number}{part}" for number, part in enumerate(others, 1))
            (self._folder / f"{name}.sql").write_text(f"-- name: {name}\n{text};\n")
            plan = self._folder / "regresql" / "plans" / f"{name}.yaml"
            if plan.parent.exists():
                plan.write_text("".join(map(_case, enumerate(cases, 1))))


def _case(numbered: tuple[int, list[Any]]) -> str:
    number, values = numbered
    return f'"{number}":\n' + "".join(f"  p{at}: {json.dumps(value)}\n" for at, value in enumerate(values, 1))


def files_of(recorded: list[tuple[str, list[tuple[str, list[Any]]]]], base: dict[str, str]) -> dict[str, Any]:
    """The statements of each kind as files: those of the base keep their names, by text, else by their order."""
    cases: dict[str, dict[str, list[list[Any]]]] = {}
    for kind, sent in recorded:
        for sql, values in {one[0]: one[1] for one in sent}.items():
            cases.setdefault(kind, {}).setdefault(sql, []).append(values)
    files: dict[str, Any] = {}
    for kind, texts in cases.items():
        known = {name: sql for name, sql in base.items() if name.rpartition("-")[0] == kind}
        left = [name for name, sql in known.items() if sql not in texts]
        for sql, values in texts.items():
            name = next((name for name, text in known.items() if text == sql), None)
            if name is None and left:
                name = left.pop(0)
            files[name or f"{kind}-{len(known) + len(files) + 1}"] = (sql, values)
    return files


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--regresql", required=True)
    parser.add_argument("--django", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--runs", type=int, default=10)
    asked = parser.parse_args()
    with exclusive("work"), running_stack(load_settings()) as stack, tempfile.TemporaryDirectory() as folder:
        result = compare(stack, Path(folder), asked)
    if not asked.only:
        RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def compare(stack: Stack, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    base = place(stack, folder, "base", None)
    try:
        recorded = base.recorded(asked.django, "statements")
        files = files_of(recorded, {})
        texts = {name: sql for name, (sql, _) in files.items()}
        project = folder / "regresql"
        project.mkdir()
        tool = RegreSQL(asked.regresql, project)
        tool.write(files)
        tool.run(base.url, "init", base.url)
        tool.run(base.url, "add", *(f"{name}.sql" for name in files))
        tool.write(files)
        print(tool.run(base.url, "update")[-300:])
        print(tool.run(base.url, "baseline", "--analyze")[-300:])
        print(tool.run(base.url, "test")[-1500:])
        base.recorded(asked.django, "perf-rec")
        if again := base.recorded(asked.django, "perf-rec"):
            raise SystemExit(f"the record of the same code does not match: {again}")
        rows, false = [], {"RegreSQL": 0, "django-perf-rec": 0}
        for number in range(0 if asked.only else asked.runs):
            same = judged(stack, folder, f"same{number}", None, base, tool, texts, asked)
            false = {name: count + bool(same[name]) for name, count in false.items()}
        for number, mutation in enumerate(mutations()):
            if asked.only and asked.only not in mutation.name:
                continue
            found = judged(stack, folder, f"changed{number}", mutation, base, tool, texts, asked)
            row = {name: mutation.request in kinds for name, kinds in found.items()}
            rows.append({"mutation": mutation.name, **row})
            print(mutation.name, found, flush=True)
    finally:
        drop_database(stack.postgres_url, stack.database_name("peers_base"))
    counts = {name: sum(row[name] for row in rows) for name in false}
    print(f"found {counts} of {len(rows)}; of {asked.runs} runs of the same code with an alarm: {false}")
    return {"mutations": rows, "found": counts, "runs": asked.runs, "false_alarms": false}


def place(stack: Stack, folder: Path, name: str, mutation: Mutation | None) -> Place:
    """A shop with a change, on a database of its own that is loaded and vacuumed."""
    tree = folder / name
    shutil.copytree(SHOP, tree)
    if mutation is not None and mutation.old:
        code = (tree / "app.py").read_text()
        assert mutation.old in code, mutation.name
        (tree / "app.py").write_text(code.replace(mutation.old, mutation.new))
    url = create_database(stack.postgres_url, stack.database_name(f"peers_{name}"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((SHOP / "seed.sql").read_bytes())
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        if mutation is not None and mutation.sql:
            connection.execute(mutation.sql.encode())
            connection.execute("ANALYZE")
        requests = [
            (kind, list(row))
            for kind, query in VALUES.items()
            for row in connection.execute(query.format(CASES).encode()).fetchall()
        ]
    (folder / f"{name}.json").write_text(json.dumps(requests))
    return Place(tree, url, stack.redis_url, folder / f"{name}.json")


def judged(
    stack: Stack,
    folder: Path,
    name: str,
    mutation: Mutation | None,
    base: Place,
    tool: RegreSQL,
    texts: dict[str, str],
    asked: argparse.Namespace,
) -> dict[str, list[str]]:
    """The kinds of request that each of the two names."""
    changed = place(stack, folder, name, mutation)
    try:
        tool.write(files_of(changed.recorded(asked.django, "statements"), texts))
        said = tool.run(changed.url, "test")
        (folder / f"{name}.txt").write_text(said)
        failing = said.partition("FAILING:")[2].partition("IMPROVED:")[0]
        shutil.copy(base.tree / "shop.perf.yml", changed.tree / "shop.perf.yml")
        if asked.only:
            print(said)
        return {
            "RegreSQL": sorted(set(_FAILING.findall(failing))),
            "django-perf-rec": changed.recorded(asked.django, "perf-rec"),
        }
    finally:
        drop_database(stack.postgres_url, stack.database_name(f"peers_{name}"))


if __name__ == "__main__":
    main()
