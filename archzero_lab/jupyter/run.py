"""A finished run, as a notebook reads it: its summary, its frames, its figures."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import pandas as pd

from archzero_lab.errors import unknown_name
from archzero_lab.experiments.claim_files import load_claims
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.metrics import by_block
from archzero_lab.experiments.ranges import limits_in_words
from archzero_lab.jupyter.plans import ShownDiff, plan_diff, plan_from
from archzero_lab.reporting import figures
from archzero_lab.reporting.claim_figures import all_claims
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.run_words import environment_in_words
from archzero_lab.reporting.scorecard import claimed_in_words, in_order, rows
from archzero_lab.run_folders.finding import all_runs, find_run
from archzero_lab.run_folders.run import Run as RunFolder


@dataclass(frozen=True)
class Words:
    """A result in words: shown as a paragraph in a notebook."""

    head: str
    text: str
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        warnings = "".join(f"<br><em>{html.escape(warning)}</em>" for warning in self.warnings)
        return f"<p><strong>{html.escape(self.head)}.</strong> {html.escape(self.text)}{warnings}</p>"

    def __repr__(self) -> str:
        return "; ".join([f"{self.head}: {self.text}", *self.warnings])


class Run(RunFolder):
    """One run's results with their figures. `Run(path)` wants the run's folder."""

    def __repr__(self) -> str:
        s = self.summary
        size = s.get("size", s.get("cards"))
        return f"run {self.id}: {size:,} rows, profile {s['profile']}, {len(s['claims'])} claims"

    @property
    def index_frame(self) -> Frame:
        """Every index: arm, table, name, mb, scans, constraint."""
        frame = Frame([{"arm": arm, **index} for arm, rows in self.indexes.items() for index in rows])
        frame["mb"] = frame.pop("bytes") / 1e6
        return frame

    def claim(self, claim_id: str) -> dict[str, Any]:
        """A claim's entry of summary.json. Raises UnknownNameError listing those that this run measured."""
        for claim in self.summary["claims"]:
            if claim["id"] == claim_id:
                entry: dict[str, Any] = claim
                return entry
        raise unknown_name("claim of this run", claim_id, [claim["id"] for claim in self.summary["claims"]])

    def has(self, *claim_ids: str) -> list[str]:
        """Those of the claims that this run measured (a run may be of some only)."""
        measured = {claim["id"] for claim in self.summary["claims"]}
        return [claim_id for claim_id in claim_ids if claim_id in measured]

    @property
    def claims(self) -> Frame:
        """The scorecard as a frame, a row a claim."""
        rows = [
            {
                "claim": claim["title"],
                "verdict": claim["verdict"],
                "before": claim["measured"]["before"],
                "after": claim["measured"]["after"],
                "unit": claim["unit"],
                "improvement": claim["measured"]["improvement"],
                "ci_low": claim["measured"]["ci_low"],
                "ci_high": claim["measured"]["ci_high"],
                "claimed": claimed_in_words(claim),
                "blocks": claim["measured"]["blocks"],
            }
            for claim in self.summary["claims"]
        ]
        frame = Frame(rows).set_index("claim")
        return frame.map(lambda value: float(f"{value:.3g}") if isinstance(value, float) else value)

    @property
    def scorecard(self) -> Frame:
        """The scorecard in words, as the report's first page has it, those first that were not confirmed."""
        columns = {"title": "claim", "verdict": "verdict", "claimed": "claimed", "measured": "measured",
                   "interval": "95 % interval", "note": "in words", "warnings": "warnings"}  # fmt: skip
        return Frame([{name: row[key] for key, name in columns.items()} for row in rows(self.summary)]).set_index(
            "claim"
        )

    @property
    def unmeasured(self) -> Words:
        """What a notebook says where a claim is missing."""
        return Words("Not measured in this run", "")

    @property
    def measured_on(self) -> Frame:
        """The machine, the code and the servers."""
        shown = environment_in_words(self.summary["environment"])
        return Frame({"": list(shown.values())}, index=list(shown))

    def note(self, claim_id: str) -> Words:
        """A claim's result in a sentence, with its verdict and warnings."""
        claim = self.claim(claim_id)
        return Words(f"{claim['title']}: {claim['verdict']}", claim["note"], tuple(claim["warnings"]))

    def latencies(self, claim_id: str) -> Frame:
        """Quantiles of service time in ms of a claim's arms, pooled over blocks."""
        times = self._of(claim_id).groupby("arm")["service_time_s"]
        frame = Frame(
            {
                "p50_ms": times.quantile(0.5) * 1000,
                "p95_ms": times.quantile(0.95) * 1000,
                "mean_ms": times.mean() * 1000,
                "requests": times.size(),
            }
        )
        return frame.round(3)

    def mechanism(self, claim_id: str) -> Frame:
        """What moved with a claim's times: hits, statements, database time and blocks an arm."""
        counters = self.claim(claim_id)["mechanism"]
        return Frame({arm: values for arm, values in counters.items() if isinstance(values, dict)}).T

    def plan_table(self, part: str = "page") -> Frame:
        """Time, blocks and indexes of every statement's `page` or `count`, control and treatment side by side."""
        frame = Frame([plan for plan in self.plans if plan["part"] == part])
        table = frame.pivot(index="statement", columns="arm", values=["execution_ms", "blocks"])
        table = table.reindex(columns=["control", "treatment"], level=1)
        used = frame[frame["arm"] == "treatment"].set_index("statement")["indexes"]
        table["indexes used after"] = used.map(lambda names: ", ".join(names) or "none")
        return table.round(2)

    def plan_diff(self, statement: str, part: str = "page") -> ShownDiff:
        """What the indexes changed in one statement's plan: lines, the biggest first, and both trees."""
        plans = {
            plan["arm"]: plan_from(plan["raw"], statement)
            for plan in self.plans
            if (plan["statement"], plan["part"]) == (statement, part)
        }
        if not plans:
            raise unknown_name("statement", statement, sorted({plan["statement"] for plan in self.plans}))
        return plan_diff(plans["control"], plans["treatment"])

    def curves(self, claim_id: str) -> figures.Picture:
        """Percentile curves of a claim's arms."""
        return figures.percentile_curves(self._of(claim_id), self.claim(claim_id)["title"], self._names)

    def blocks(self, claim_id: str) -> figures.Picture:
        """The paired blocks behind a claim's verdict."""
        claim = self.claim(claim_id)
        slots = self.slots[self.slots["claim"] == claim_id]
        table = by_block(claim["metric"], claim.get("over_ms"), self._of(claim_id), slots)
        what = f"{claim['metric'].replace('_', ' ')}, {claim['unit']}"
        return figures.paired_blocks(table, f"{claim['title']}: block by block", what, claim["claimed"]["after"],
                                     self._names)  # fmt: skip

    def variants(self, claim_id: str) -> figures.Picture:
        """Medians by variant of a claim's requests."""
        return figures.by_variant(self._of(claim_id), self.claim(claim_id)["title"], self._names)

    def improvements(self) -> figures.Picture:
        """Every claim: what was claimed and what was measured, with its interval."""
        return all_claims(in_order(self.summary))

    def index_sizes(self) -> figures.Picture:
        """Sizes of phase 5's indexes."""
        indexes = self.index_frame
        frame = indexes[(indexes["arm"] == "treatment") & ~indexes["constraint"]]
        return figures.index_bars(frame, "Phase 5's indexes")

    def hit_rate(self) -> figures.Picture:
        """Hit rate by block under the mix."""
        low, high = self.claim("cache_hit_rate")["claimed"]["after"]
        return figures.hit_rate_by_block(self._load_treatment(), (low, high))

    def memory(self) -> figures.Picture:
        """Redis memory by block under the mix."""
        return figures.memory_by_block(self._load_treatment())

    def hit_rate_by_kind(self) -> Frame:
        """Hits, misses and hit rate of each kind of key over the measured slots of the treatment."""
        slots = self._load_treatment()
        kinds = [column.removesuffix("_hits") for column in slots.columns if column.endswith("_hits")]
        frame = Frame(
            {
                kind: {"hits": int(slots[f"{kind}_hits"].sum()), "misses": int(slots[f"{kind}_misses"].sum())}
                for kind in kinds
            }
        ).T
        frame["hit_rate"] = (frame["hits"] / (frame["hits"] + frame["misses"])).round(3)
        return frame

    def load_latencies(self) -> Frame:
        """Median and p95 response time in ms of each action of the mix, an arm a column, and requests a second."""
        grouped = self.load.groupby(["name", "arm"])["response_ms"]
        frame = Frame({"p50_ms": grouped.median(), "p95_ms": grouped.quantile(0.95), "requests": grouped.size()})
        return Frame(frame.unstack("arm")).round(2)

    @property
    def _names(self) -> dict[str, str]:
        """What the arms are called; of a run before 0.2 that is not known."""
        return {name: str(arm["label"]) for name, arm in self.summary.get("arms", {}).items()}

    def _load_treatment(self) -> Frame:
        slots = self.load_slots
        return Frame(slots[slots["arm"] == "treatment"].sort_values("block"))

    def _of(self, claim_id: str) -> Frame:
        self.claim(claim_id)
        return Frame(self.samples[self.samples["claim"] == claim_id])


def load_run(run: str = "latest") -> Run:
    """A run by its id, its folder, or "latest". Raises LabError where there is none."""
    return Run(find_run(run).path)


def runs() -> Frame:
    """Every finished report of reports/, the newest first: run, profile, rows, claims by verdict, commit.

    lab.runs().head()
    """
    rows = []
    for run in reversed(all_runs()):
        summary = run.summary
        verdicts = pd.Series([claim["verdict"] for claim in summary["claims"]]).value_counts()
        rows.append(
            {
                "run": run.id,
                "profile": summary["profile"],
                "rows": summary.get("size", summary.get("cards")),
                **{name: int(verdicts.get(name, 0)) for name in ("confirmed", "refuted", "inconclusive")},
                "commit": str(summary["environment"].get("git_commit"))[:7],
            }
        )
    columns = ["run", "profile", "rows", "confirmed", "refuted", "inconclusive", "commit"]
    return Frame(rows, columns=columns).set_index("run")


def claims() -> Frame:
    """Every claim that can be measured, phase 5's and one's own: title, sentence, metric, arms, what was claimed.

    lab.claims()["sentence"]
    """
    # a report's notebooks read a run, and have no use for what opens systems: a quarter of a second of each
    from archzero_lab.bootstrap.system import system_here

    rows = [
        {
            "claim": claim.id,
            "title": claim.title,
            "sentence": claim.sentence,
            "metric": claim.metric,
            "control": claim.control,
            "treatment": claim.treatment,
            "claimed": _claimed(claim),
        }
        for claim in load_claims(system_here())
    ]
    return Frame(rows).set_index("claim")


def _claimed(claim: Claim) -> str:
    """A gain as a share, limits as such."""
    after = claim.claimed.after
    if claim.claimed.improvement is not None:
        return f"{claim.claimed.improvement:.1%} {'more' if claim.rises else 'less'}"
    return limits_in_words(claim.rule, claim.unit, *after) if isinstance(after, tuple) else "never fails"
