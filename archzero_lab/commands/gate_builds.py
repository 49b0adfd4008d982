"""lab gate --build: two builds side by side, of a team's own service or of the card service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from archzero_lab.errors import LabError, unknown_name
from archzero_lab.settings import CHECKOUT, COMMAND, IN_CHECKOUT, PROJECT_FILE, ROOT, load_settings
from archzero_lab.terminal import console

if TYPE_CHECKING:
    from archzero_lab.run_folders.gate import GateResult
    from archzero_lab.systems.team.system import TeamSystem


def gate_builds(build: str, candidate: str, only: tuple[str, ...], size: int | None, rules: Path | None) -> GateResult:
    """Measure a candidate against a build, after saying which two commits of which repository they are."""
    from archzero_lab.bootstrap.system import team_here

    team = team_here()
    if team is not None:
        return _gate_team(team, build, candidate or ".", only, rules)
    here = Path.cwd()
    if not IN_CHECKOUT or (_repository(here) and not here.is_relative_to(CHECKOUT)):
        raise LabError(
            f"no {PROJECT_FILE} here or above says how this repository's service is built: {COMMAND} init writes one"
        )
    return _gate_cards(build, candidate or str(CHECKOUT), only, size)


def _repository(folder: Path) -> bool:
    return any((place / ".git").exists() for place in (folder, *folder.parents))


def _gate_team(team: TeamSystem, build: str, candidate: str, only: tuple[str, ...], rules: Path | None) -> GateResult:
    from archzero_lab.jobs.studies.builds import compare_requests
    from archzero_lab.progress import Reporter
    from archzero_lab.run_folders import gate as gates
    from archzero_lab.run_folders.margins import margin_for, margins
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack
    from archzero_lab.systems.team.builds import find_build

    reads = [name for name, request in team.project.requests.items() if not request.writes]
    for name in only:
        if name not in team.project.requests:
            raise unknown_name("request", name, list(team.project.requests))
    kinds = list(only) or reads
    if not kinds:
        raise LabError(f"{PROJECT_FILE} names no request that reads: name one that writes by --only")
    compared = team.of_builds(build, candidate)
    compared.require_ready()
    chosen = gates.read_rules(rules or ROOT / PROJECT_FILE)
    with exclusive("gate"), running_stack(load_settings()) as stack:
        one, other = (find_build(team.project, revision) for revision in (build, candidate))
        console.print(f"{team.project.folder}: {other.in_words} against {one.in_words}", highlight=False)
        reporter = Reporter(console)
        with reporter.work("builds") as tell:
            comparison = compare_requests(compared, stack, team.profiles["smoke"], kinds, progress=tell)
    most = {rule.claim: rule.max_regression for rule in chosen if rule.max_regression is not None}
    outcomes = [
        gates.Outcome(f"{kind} / answers", gates.REGRESSION, "; ".join(differences))
        for kind, differences in comparison.unlike.items()
    ]
    for row in comparison.comparisons:
        c = row.comparison
        numbers = (c.control * 1000, c.treatment * 1000, c.effect_size, c.ci_low, c.ci_high)
        own = max(gates.MAX_REGRESSION, margin_for(row.operations, "p50", margins()))
        outcomes.append(gates.judge_ratio(row.name, *numbers, most.get(row.claim, own)))
    return gates.GateResult(other.in_words, one.in_words, outcomes, [])


def _gate_cards(build: str, candidate: str, only: tuple[str, ...], size: int | None) -> GateResult:
    from archzero_lab.bootstrap.system import system_here
    from archzero_lab.jobs.studies.builds import checkout, compare_builds
    from archzero_lab.progress import Reporter
    from archzero_lab.run_folders import gate as gates
    from archzero_lab.run_folders.margins import margin_for, margins
    from archzero_lab.servers.exclusive import exclusive
    from archzero_lab.servers.stack import running_stack
    from archzero_lab.systems.profiles import choose_profile

    with (
        exclusive("gate"),
        checkout(build) as baseline,
        checkout(candidate) as judged,
        running_stack(load_settings()) as stack,
        Reporter(console).work("builds") as tell,
    ):
        system = system_here()
        profile = choose_profile(system.profiles, "smoke", size)
        rows = compare_builds(system, stack, baseline, judged, profile, only=only, progress=tell)
    outcomes = []
    for row in rows:
        c = row.comparison
        numbers = (c.control * 1000, c.treatment * 1000, c.effect_size, c.ci_low, c.ci_high)
        # below what two identical arms differ by on this machine (./lab self-check), a difference is none
        most = max(gates.MAX_REGRESSION, margin_for(row.operations, "p50", margins()))
        outcomes.append(gates.judge_ratio(row.name, *numbers, most))
    return gates.GateResult(candidate, build, outcomes, [])
