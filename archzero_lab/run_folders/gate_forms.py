"""What a gate found, in the forms that others read: Markdown, JUnit, GitHub's annotations, GitLab's code quality."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from archzero_lab.run_folders.gate import EXIT, INCONCLUSIVE, PASS, REGRESSION, GateResult, Outcome


def markdown(result: GateResult) -> str:
    """A summary for a pull request."""
    marks = {PASS: "✓", REGRESSION: "✗", INCONCLUSIVE: "?"}
    beside = f" against {result.against}" if result.against else ""
    lines = [f"### Performance gate: {result.result}", "", f"Run {result.run}{beside}", ""]
    lines += [result.sight, ""] if result.sight else []
    lines += ["| | what | measured |", "|---|---|---|"]
    order = {REGRESSION: 0, INCONCLUSIVE: 1, PASS: 2}
    for outcome in sorted(result.outcomes, key=lambda outcome: order[outcome.result]):
        lines.append(f"| {marks[outcome.result]} {outcome.result} | {_cell(outcome.name)} | {_cell(outcome.said)} |")
    lines += ["", *(f"Note: {warning}" for warning in result.warnings)]
    return "\n".join(lines).rstrip() + "\n"


def junit(gated: GateResult) -> bytes:
    """A JUnit XML report: a test case an outcome; an inconclusive one is skipped with its reason."""
    counts = {result: sum(outcome.result == result for outcome in gated.outcomes) for result in EXIT}
    suite = ElementTree.Element(
        "testsuite", name="performance gate", tests=str(len(gated.outcomes)),
        failures=str(counts[REGRESSION]), skipped=str(counts[INCONCLUSIVE]), errors="0",
    )  # fmt: skip
    for outcome in gated.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=gated.run, name=outcome.name)
        if outcome.result == REGRESSION:
            ElementTree.SubElement(case, "failure", message=outcome.said)
        elif outcome.result == INCONCLUSIVE:
            ElementTree.SubElement(case, "skipped", message=outcome.said)
        else:
            ElementTree.SubElement(case, "system-out").text = outcome.said
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def github(result: GateResult) -> list[str]:
    """Workflow commands, a line each: an error a regression, a warning what is inconclusive."""
    levels = {REGRESSION: "error", INCONCLUSIVE: "warning"}
    lines = []
    for outcome in result.outcomes:
        if outcome.result in levels:
            place = f"file={_property(_in_repository(result.file))},line={outcome.line or 1}," if result.file else ""
            said = outcome.said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            lines.append(f"::{levels[outcome.result]} {place}title={_property(outcome.name)}::{said}")
    return lines


def gitlab(result: GateResult) -> str:
    """A code quality report: what is a regression or inconclusive, at its line of the file."""
    severities = {REGRESSION: "major", INCONCLUSIVE: "minor"}
    findings = [
        _finding(result, outcome, severities[outcome.result], number)
        for number, outcome in _numbered(outcome for outcome in result.outcomes if outcome.result != PASS)
    ]
    return json.dumps(findings, indent=1, ensure_ascii=False) + "\n"


def _numbered(outcomes: Iterable[Outcome]) -> Iterator[tuple[int, Outcome]]:
    """Each with how many of its name came before: two shortened statements may read alike."""
    seen: Counter[str] = Counter()
    for outcome in outcomes:
        yield seen[outcome.name], outcome
        seen[outcome.name] += 1


def _in_repository(file: str) -> str:
    """A file's path below the top of its git repository, as annotations name it; as it is outside of one."""
    path = Path(file).resolve()
    top = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    return path.relative_to(top).as_posix() if top is not None else file


def _finding(result: GateResult, outcome: Outcome, severity: str, number: int) -> dict[str, object]:
    mark = f"{result.file} {outcome.name}" + (f" {number}" if number else "")
    return {
        "description": f"{outcome.name}: {outcome.said}",
        "check_name": "archzero-lab gate",
        "fingerprint": hashlib.sha256(mark.encode()).hexdigest(),
        "severity": severity,
        "location": {"path": _in_repository(result.file or "archzero.toml"), "lines": {"begin": outcome.line or 1}},
    }


def _property(text: str) -> str:
    """As GitHub's workflow commands escape a property."""
    for char, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(char, code)
    return text
