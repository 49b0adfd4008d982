"""How --help reads: commands in groups and none cut short, options without the names of Python's types, examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from archzero_lab.settings import COMMAND

GROUPS: Mapping[str, Sequence[str]] = {
    "Measure": ("report", "load", "indexes", "fragility", "compare-servers", "sweep", "pool", "work"),
    "Your own service": ("init", "check"),
    "Judge and compare": ("gate", "compare", "history", "judge", "show", "send"),
    "Servers and service": ("up", "down", "status", "serve", "notebook", "new"),
    "Databases": ("migrate", "analyze", "replicas"),
    "Trust": ("self-check", "verify-consistency", "verify-faults", "verify-failover", "test", "docs"),
}
EXAMPLES: Mapping[str, Sequence[str]] = {
    # after the name of the command itself, which is not the same in a checkout and in a package
    "report": (
        "report --profile smoke                   a minute and a half, for a look",
        "report --only search_gin --until-decided 5",
        "report --inventory cards.jsonl.gz --relationships relationships.jsonl.gz",
    ),
    "load": (
        "load --arm control --arm treatment --rate 100",
        "load --arm treatment --shape capacity --target-p99-ms 50",
        "load --host http://127.0.0.1:3000 --users 8 --shape spike",
    ),
    "indexes": (
        "indexes --cards 20000                    phase 5's own",
        "indexes --database-url URL --migration new.sql --queries queries/",
        "indexes --database-url URL --migration new.sql --plans-only --queries q/",
    ),
    "fragility": (
        "fragility --database-url URL --queries queries/",
        "fragility --database-url URL --from-pg-stat-statements 20 --analyzes 200",
    ),
    "compare-servers": (
        "compare-servers URL_A URL_B --queries queries/",
        "compare-servers URL --server-version 15 --server-version 18 --queries q/",
        "compare-servers URL --set work_mem=64MB --from-pg-stat-statements 20",
    ),
    "replicas": (
        "replicas --lag 500ms -- pytest tests     what its tests read too early",
        "replicas --lag paused --load schema.sql -- python app.py",
    ),
    "gate": (
        "gate --build main                        both builds in one run",
        "gate latest --against RUN --junit gate.xml",
        "gate --work work.toml                    counted, not timed",
    ),
    "work": ("work --save work.toml", "work --growth 1000,3000,10000 --limit 500"),
    "pool": ("pool", "pool --size 2 --size 5 --size 15 --users 50 --arm main"),
    "serve": ("serve --cards 3000 --workers 2", "serve --arm v2-cache --record access.log"),
    "up": ("up", "up --cards 100000 --replicas 1 --observe"),
    "status": ("status", "status --json"),
    "compare": ("compare RUN latest",),
    "history": ("history", "history --metric p95"),
    "judge": ("judge latest                              by today's claims and margins",),
    "show": ("show RUN",),
    "send": ("send latest                               one file, for a mail",),
    "check": ("check                                     in the folder of archzero.toml",),
    "sweep": ("sweep --cards 10000,100000 --database-distance-ms 0,1,5",),
    "analyze": ("analyze", "analyze --database-url URL"),
    "new": ("new mine", "new mine --claim                          one that reports measure"),
    "notebook": ("notebook", "notebook --no-browser --port 8899"),
    "self-check": ("self-check --small",),
    "verify-consistency": ("verify-consistency --reads 1000000", "verify-consistency --without fence --reads 50000"),
    "verify-faults": ("verify-faults --minutes 10", "verify-faults --minutes 3 --promises"),
    "verify-failover": ("verify-failover --minutes 5", "verify-failover --minutes 3 --without token"),
    "test": ("test", "test tests/unit -k work"),
    "init": ("init http://127.0.0.1:8000/openapi.json", "init access.log"),
}
_TYPES = {
    "<str>": "TEXT", "<int>": "N", "<float>": "N", "<int range>": "N", "<float range>": "N", "<path>": "PATH",
    "<file>": "FILE", "<directory>": "FOLDER", "<list[str]>": "TEXT", "<list[Path]>": "FILE",
}  # fmt: skip
_TYPE = re.compile(r"<(?:list\[\w+\]|str|int|float|path|file|directory)(?: range)?>")


class PlainCommand(TyperCommand):
    """A command whose help names its choices and values as a person would, and ends with examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """A line an argument and an option."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            params = [param for param in self.get_params(ctx) if param.param_type_name == kind]
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl([(_TYPE.sub(_in_words, name), text) for name, text in records])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples, as they are typed."""
        if examples := EXAMPLES.get(self.name or ""):
            with formatter.section("Examples"):
                for line in examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{COMMAND} {line}\n")


class WholeCommands(TyperGroup):
    """Commands, each with its whole first sentence; by `groups` where there are such, the others after them."""

    groups: Mapping[str, Sequence[str]] = {}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section a group."""
        there = self.list_commands(ctx)
        named = {name for names in self.groups.values() for name in names}
        groups = {**self.groups, "Commands": [name for name in there if name not in named]}
        width = max(map(len, there))
        for title, names in groups.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [
                (f"{name:<{width}}", command.get_short_help_str(limit=1_000)) for name, command in commands
                if command is not None
            ]  # fmt: skip
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class GroupedCommands(WholeCommands):
    """The commands by what a person wants."""

    groups = GROUPS


def _in_words(match: re.Match[str]) -> str:
    return _TYPES.get(match[0], "TEXT")
