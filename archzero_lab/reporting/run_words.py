"""What is said of a run in words: its answer, how far it can be trusted, when and on what, how to measure it again."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from archzero_lab.reporting.tables import in_three_digits
from archzero_lab.settings import COMMAND

FIRST = ("refuted", "inconclusive", "confirmed")
"""What did not hold comes before what did."""
_THINGS = {
    "memory_gb": "memory, GB", "git_commit": "commit", "git_dirty": "changes that no commit holds", "cpu": "CPU",
    "load_before": "load average before, over 1, 5 and 15 min", "postgres_version": "PostgreSQL",
    "redis_version": "version of Redis or Valkey", "redis_server": "Redis or Valkey", "lab_version": "archzero-lab",
}  # fmt: skip


def rows_in_words(summary: dict[str, Any]) -> str:
    """What was measured on, in a phrase; of a run before 0.2 its cards."""
    if "in_words" in summary:
        return str(summary["in_words"])
    held = f"{summary['cards']:,} cards, {summary['relationships']:,} relationships"
    return f"{held} ({summary.get('inventory') or 'generated'})"


def headline(summary: dict[str, Any]) -> str:
    """How many claims held, in a sentence."""
    counts = dict.fromkeys(FIRST, 0)
    for claim in summary["claims"]:
        counts[claim["verdict"]] += 1
    total = len(summary["claims"])
    said = f"{counts['confirmed']} of {total} claims confirmed, {counts['refuted']} refuted"
    return said + (f", {counts['inconclusive']} inconclusive" if counts["inconclusive"] else "")


def answer(summary: dict[str, Any]) -> str:
    """What did not hold and what is undecided, by name, in a sentence or two."""
    titles: dict[str, list[str]] = {verdict: [] for verdict in FIRST}
    for claim in summary["claims"]:
        titles[claim["verdict"]].append(claim["title"])
    said = []
    if titles["refuted"]:
        said.append(f"Refuted: {_listed(titles['refuted'])}.")
    if titles["inconclusive"]:
        said.append(f"Undecided: {_listed(titles['inconclusive'])}.")
    return " ".join(said) or "Every claim held."


def trust(summary: dict[str, Any]) -> str:
    """How far the run can be trusted, in a sentence or two."""
    claims = summary["claims"]
    warned = sum(bool(claim["warnings"]) for claim in claims)
    finest = [
        claim["measured"]["detectable"]
        for claim in claims
        if claim["claimed"]["improvement"] is not None and claim["measured"]["detectable"] is not None
    ]
    said = f"This run could detect a change of {max(finest):.0%} in any response time. " if finest else ""
    controls = summary.get("negative_controls")
    if controls == [] and finest:
        names = ": [service] untouched of archzero.toml names one" if summary.get("system") != "arczero" else ""
        said += f"No negative control was measured{names}. "
    moved = [one for one in controls or () if one["moved"]]
    if moved:
        arms = _listed(sorted({arm for one in moved for arm in (one["control"], one["treatment"])}))
        said += f"The negative control moved between {arms}, so no timed claim about them is confirmed. "
    if not warned:
        return said + "Nothing that the lab looks for disturbed the measurement."
    verb = "carries" if warned == 1 else "carry"
    return said + f"{warned} of {len(claims)} results {verb} a warning, shown beside them."


def measured_when(summary: dict[str, Any]) -> str:
    """The day and hour, how long it took and the machine, in a phrase."""
    environment = summary["environment"]
    said = []
    with contextlib.suppress(ValueError):  # a run that somebody has renamed
        began = dt.datetime.strptime(summary["run_id"][:15], "%Y%m%d-%H%M%S")
        said.append(f"{began:%Y-%m-%d %H:%M}")
    said.append(_unbroken(in_minutes(sum(stage["seconds"] for stage in summary["stages"]))))
    said.append(f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gb']:.0f} GB")
    return "; ".join(said)


def in_minutes(seconds: float) -> str:
    """A duration as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def next_steps(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """What to do now: a sentence and its command."""
    undecided = [claim["id"] for claim in summary["claims"] if claim["verdict"] == "inconclusive"]
    steps = []
    if undecided:
        decide = repeat_command(summary, only=undecided, until_decided=5)
        steps.append(("Decide the undecided, in at most five minutes more:", decide))
    steps.append(("The same again, on another day or machine:", repeat_command(summary)))
    steps.append(("Against another run:", f"{COMMAND} compare OTHER_RUN {summary['run_id']}"))
    return steps


def repeat_command(summary: dict[str, Any], only: Sequence[str] = (), until_decided: float = 0) -> str:
    """The command that measures all of it again, or some of its claims: its profile, rows, seed and files."""
    request = summary.get("asked", {})
    given = [f"{COMMAND} report --profile {summary['profile']}"]
    if request.get("size") is not None or ("cards" in summary and not request.get("files")):
        given.append(f"--cards {request.get('size') or summary['cards']}")
    given.append(f"--seed {summary['seed']}")
    files = request.get("files") or ({"inventory": summary["inventory"]} if summary.get("inventory") else {})
    given += [f"--{name} {shlex.quote(_from_here(path))}" for name, path in files.items()]
    minutes = until_decided or request.get("until_decided_min", 0)
    given += [f"--until-decided {minutes:g}"] if minutes else []
    given += [f"--only {claim}" for claim in only or request.get("only", ())]
    return " ".join(given)


def _from_here(path: str) -> str:
    """A file as one would type it, below the folder where the command is called; elsewhere whole."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


def _listed(titles: list[str]) -> str:
    return "; ".join(titles)  # some have commas of their own


def environment_in_words(environment: Mapping[str, Any]) -> dict[str, str]:
    """What a run was measured on, each thing as people read it; what has parts of its own is left out."""
    shown = {}
    for name, value in environment.items():
        if isinstance(value, bool):
            shown[name] = "yes" if value else "no"
        elif isinstance(value, float):
            shown[name] = in_three_digits(value)
        elif isinstance(value, list):
            shown[name] = ", ".join(in_three_digits(one) if isinstance(one, float) else str(one) for one in value)
        elif value is not None and not isinstance(value, dict):
            shown[name] = str(value)
    return {_THINGS.get(name, name.replace("_", " ")): value for name, value in shown.items()}
