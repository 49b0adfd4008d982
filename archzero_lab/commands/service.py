"""lab init and lab check: a team's own service named in archzero.toml, and tried before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.reporting.whole_table import WholeTable
from archzero_lab.settings import COMMAND, PROJECT_FILE, load_settings
from archzero_lab.terminal import console, relative

if TYPE_CHECKING:
    from archzero_lab.systems.team.checking import Checked
    from archzero_lab.systems.team.system import TeamSystem


def init(
    source: Annotated[str, typer.Argument(help="What is known of it: OpenAPI (URL or file), a HAR, or an access log.")],
    out: Annotated[Path, typer.Option(help="The file that is written.")] = Path(PROJECT_FILE),
    writes: Annotated[bool, typer.Option(help="Put requests that write in too, not as comments.")] = False,
) -> None:
    """Write archzero.toml for your own service.

    Says what is left to fill in; lab check tries it.
    """
    from archzero_lab.jobs.drafts.draft import draft

    if out.exists():
        raise SettingsError(f"{relative(out)} is there already; move it away, or name another by --out")
    made = draft(source, writes=writes)
    out.write_text(made.text)
    console.print(f"{relative(out)}: {made.described}", highlight=False, soft_wrap=True)
    for what in made.to_fill_in:
        console.print(f"  to fill in: {what}", highlight=False, soft_wrap=True)
    console.print(f"then: {COMMAND} check", highlight=False)


def check() -> None:
    """Start your service's arms, ask each request once, compare answers.

    Tells what a report and a gate will take. Exits 1 if an arm does not answer as the file says, or arms differ.
    """
    from archzero_lab.bootstrap.system import team_here
    from archzero_lab.experiments.claim_files import choose_claims
    from archzero_lab.progress import Reporter
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack
    from archzero_lab.systems.team.checking import check_system

    system = team_here()
    if system is None:
        raise LabError(f"no {PROJECT_FILE} here or above says what your service is; {COMMAND} init writes one")
    system.require_ready()
    claims = [claim for claim in choose_claims(system) if claim.timed]
    with exclusive("check"), running_stack(load_settings()) as stack:
        checked = check_system(system, stack, Reporter(console))
    _print(checked)
    if not claims:
        console.print(f"{PROJECT_FILE} claims nothing yet: lab report needs [claims]", highlight=False)
    for profile in ("smoke", "standard") if claims else ():
        blocks = system.profiles[profile].blocks
        seconds = sum(
            blocks * checked.ms_of(claim.operations) / 1000
            * (2 + system.profiles[profile].slot(claim.operations).requests)
            for claim in claims
        )  # fmt: skip
        console.print(f"lab report --profile {profile}: about {_minutes(seconds)} of measuring", highlight=False)
    console.print(f"lab gate --build REV: about {_minutes(_gate_seconds(system, checked))}", highlight=False)
    if not checked.sound:
        raise typer.Exit(1)


def _print(checked: Checked) -> None:
    for arm, what in checked.arms.items():
        console.print(f"{arm}: {what}", highlight=False, soft_wrap=True)
    table = WholeTable("request", "arm", "answered", "ms", "bytes", "", lead=["arm", ""])
    for one in checked.asked:
        differences = checked.unlike.get(one.request, [])
        wrong = one.wrong or (differences[0] if differences else "")
        word = Text(wrong or "as it should", "bold red" if wrong else "green")
        table.add_row(one.request, one.arm, str(one.status), f"{one.ms:.3g}", f"{one.bytes:,}", word)
    console.print(table)
    for note in checked.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _gate_seconds(system: TeamSystem, checked: Checked) -> float:
    profile = system.profiles["smoke"]
    reads = [name for name, request in system.project.requests.items() if not request.writes]
    return sum(2 * profile.blocks * checked.ms_of(kind) / 1000 * (2 + profile.slot(kind).requests) for kind in reads)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
