"""The main job: servers, load, migrate, measure, locust, notebooks, report; one run's folder with everything in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from archzero_lab.errors import LabError
from archzero_lab.experiments.analysis import claim_course
from archzero_lab.experiments.chosen_claims import arms_of, chosen_claims
from archzero_lab.experiments.claim_result import ClaimResult, adjust
from archzero_lab.experiments.claims import Claim
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.metrics import QUANTILES
from archzero_lab.experiments.runner import run_claim
from archzero_lab.jobs.load.mix import LoadResult, run_load
from archzero_lab.jobs.report.database_facts import collect_index_sizes, collect_plans
from archzero_lab.jobs.report.judge import Sizes, result_of
from archzero_lab.jobs.report.pictures import capacity_section, claim_pictures
from archzero_lab.jobs.report.request import ReportRequest, begin
from archzero_lab.jobs.report.yardstick import Yardstick
from archzero_lab.jobs.studies.question import reads_a_run
from archzero_lab.postgres.migrations import connect
from archzero_lab.postgres.partial_indexes import partial_indexes
from archzero_lab.progress import Reporter
from archzero_lab.reporting.notebooks import NOTEBOOKS, NotebookPage, run_notebook
from archzero_lab.reporting.scorecard import index_page
from archzero_lab.runs.environment import describe
from archzero_lab.runs.folder import RunFolder
from archzero_lab.runs.history import append as append_history
from archzero_lab.runs.series import read_run
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import Settings
from archzero_lab.systems.arczero import index_set_v2
from archzero_lab.systems.arczero.arms import ServiceArm
from archzero_lab.systems.arczero.cards.catalog import Catalog, read_catalog
from archzero_lab.systems.arczero.checks.registry import CHECKS
from archzero_lab.systems.arczero.portfolios import (
    ARMS,
    Loaded,
    choose_portfolio,
    drop_arms,
    ensure_base,
    make_arms,
    upto,
)
from archzero_lab.systems.arczero.services import SERVICE_ARMS, index_set_of, start_service
from archzero_lab.systems.arczero.traffic import catalog_file
from archzero_lab.systems.checks import Bench, Tried
from archzero_lab.systems.spec import Profile, choose_profile

_PURPOSE = "run"
_CLIENT_REQUESTS = 2_000


def make_report(settings: Settings, request: ReportRequest, reporter: Reporter) -> tuple[RunFolder, dict[str, Any]]:
    """Run everything and return the run's folder and its summary. Whatever was started is stopped, however it ends.

    Raises LabError for what a person can mend; the folder of a run that failed stays, reports/latest does not move, and
    the run can go on where it was: what it has measured is not measured again.
    """
    chosen_claims(request.only)
    run, request = begin(request)
    claims = chosen_claims(request.only)
    profile = choose_profile(request.profile, request.cards)
    portfolio = choose_portfolio(profile.cards, request.seed, request.inventory, request.relationships)
    with ExitStack() as cleanup:
        cleanup.push(lambda kind, *_: _tell_how_to_go_on(run, reporter) if kind is not None else None)
        with run.stage("servers"), reporter.work("servers"):
            stack = cleanup.enter_context(running_stack(settings))
        with run.stage("load"), reporter.work("load") as tell:
            base = ensure_base(stack, portfolio, tell)
        cleanup.callback(drop_arms, stack, _PURPOSE)
        with run.stage("migrate"), reporter.work("migrate") as tell:
            wanted = upto(*(SERVICE_ARMS[name][0] for name in arms_of(claims)))
            urls = make_arms(stack, base, _PURPOSE, lambda name, done, total: tell(done / total), wanted)
            with connect(urls["control"]) as connection:
                catalog = read_catalog(connection, request.seed)
        environment = describe(stack)
        with run.stage("measure"), reporter.work("measure") as tell:
            arms = _open_arms(cleanup, stack, urls, settings, arms_of(claims))
            yardstick = Yardstick(stack, run.path / "constant.log")
            cleanup.callback(yardstick.close)
            client = yardstick.client_cost(_CLIENT_REQUESTS)
            measured = _measure(run, claims, arms, catalog, profile, request.seed, yardstick.measure_ms, tell, reporter)
            if request.until_decided_min:
                _until_decided(claims, arms, catalog, profile, request, yardstick.measure_ms, measured)
            measured.save(run.path)
            _end_where_asked(run, reporter)
            tried = _check(run, claims, stack, arms["treatment"], urls["treatment"], catalog)
        load: LoadResult | None = None
        with run.stage("locust"), reporter.work("locust") as tell:
            # an index is called unused only after the mix has had its chance to use it
            mixed = [claim for claim in claims if claim.operations == "mix" or claim.mechanism == "scans"]
            if mixed:
                of_mix = {name: arms[name] for name in arms_of(mixed)}
                load = _load(run, stack, of_mix, catalog, profile, request.seed, tell)
        _end_where_asked(run, reporter)
        plans = collect_plans({arm: urls[arm] for arm in ARMS[:2]}, catalog)
        run.write_json("plans.json", plans)
        tables = 0
        if index_set_v2.ARM in arms:
            tables = index_set_v2.table_bytes(urls[index_set_v2.ARM])
            index_set_v2.use_every_way(arms[index_set_v2.ARM].url, catalog, request.seed)
        indexes = collect_index_sizes(urls)
        run.write_json("indexes.json", indexes)
        sequential = request.until_decided_min > 0
        partial = partial_indexes(urls["treatment"]) if any(c.metric == "partial_share" for c in claims) else []
        sizes = Sizes(indexes, tables, partial)
        results = adjust([result_of(claim, measured, load, sizes, tried, sequential) for claim in claims])
        summary = _summary(run, request, profile, base, environment, client, results)
        run.write_json("summary.json", summary)
        with run.stage("notebooks"), reporter.work("notebooks") as tell:
            pages = _notebooks(run, tell)
        with run.stage("report"), reporter.work("report"):
            summary["stages"] = run.stages
            pictures = claim_pictures(claims, summary, measured, load, indexes)
            capacity = capacity_section(base.cards, environment["machine"])
            (run.path / "index.html").write_text(index_page(summary, pages, pictures, capacity))
        # once more: the last stage has its time only now
        summary["stages"] = run.stages
        run.write_json("summary.json", summary)
    run.publish()
    append_history(read_run(str(run.path)), {claim.id: (claim.control, claim.treatment) for claim in claims})
    return run, summary


def _tell_how_to_go_on(run: RunFolder, reporter: Reporter) -> None:
    if any(name in run.done for name in ("measured", "blocks", "tried", "load")):
        told = f"what is measured is kept; go on with: ./lab report --resume {run.id}"
        reporter.console.print(told, highlight=False, soft_wrap=True)  # a command to copy is not broken in two


def _end_where_asked(run: RunFolder, reporter: Reporter) -> None:
    if reporter.stop_asked.is_set():
        raise LabError(f"stopped; what is measured is kept in run {run.id}")


def _open_arms(
    cleanup: ExitStack, stack: Stack, urls: dict[str, str], settings: Settings, names: list[str]
) -> dict[str, ServiceArm]:
    arms = {}
    # phase 5's claims are about Redis: a cache in the process would answer in its place
    far_only = replace(stack, settings=replace(settings, cache=replace(settings.cache, near_bytes=0)))
    for name in names:
        database, cached = SERVICE_ARMS[name]
        service = start_service(far_only, name, urls[database], cached=cached, index_set=index_set_of(database))
        arm = ServiceArm(service, urls[database], cached=cached, admin_token=settings.admin_token)
        cleanup.callback(stack.registry.stop, service.record)
        cleanup.callback(arm.close)
        arms[name] = arm
    return arms


def _measure(
    run: RunFolder,
    claims: list[Claim],
    arms: dict[str, ServiceArm],
    catalog: Catalog,
    profile: Profile,
    seed: int,
    yardstick: Callable[[], float],
    tell: Callable[[float], None],
    reporter: Reporter,
) -> Measurements:
    whole: list[str] = run.done.get("measured", [])
    begun: dict[str, int] = run.done.get("blocks", {})  # of a claim that was stopped between two of its blocks
    measured = Measurements.read(run.path, [*whole, *begun])
    timed = [claim for claim in claims if claim.timed and claim.id not in whole]
    slots = profile.blocks * sum(len(claim.arms) for claim in timed)
    done = sum(begun.get(claim.id, 0) * len(claim.arms) for claim in timed)

    def step() -> None:
        nonlocal done
        done += 1
        tell(done / slots)

    for claim in timed:
        size = profile.slot(claim.operations, QUANTILES.get(claim.metric))
        for block in range(begun.get(claim.id, 0), profile.blocks):
            run_claim(claim, arms, catalog, size, block + 1, seed, measured, step, yardstick, first=block)
            reporter.block(claim.id, block, measured.block_ms(claim.id, block))
            if reporter.stop_asked.is_set() and done < slots:
                measured.save(run.path)
                run.mark("blocks", {claim.id: block + 1} if block + 1 < profile.blocks else {})
                run.mark("measured", whole if block + 1 < profile.blocks else [*whole, claim.id])
                raise LabError(f"stopped after block {block + 1} of {profile.blocks} of {claim.id}; what is measured "
                               f"is kept in run {run.id}")  # fmt: skip
        measured.save(run.path)
        whole = [*whole, claim.id]
        run.mark("measured", whole)
    run.mark("blocks", {})
    return measured


def _check(
    run: RunFolder, claims: list[Claim], stack: Stack, arm: ServiceArm, database_url: str, catalog: Catalog
) -> dict[str, Tried]:
    """The claims that are no latency, tried on the treatment."""
    bench = Bench(stack, arm.service, database_url, catalog.ids)
    tried = {name: Tried(**found) for name, found in run.done.get("tried", {}).items()}
    for claim in claims:
        if claim.operations == "checks" and claim.id not in tried:
            tried[claim.id] = CHECKS[claim.id](bench)
            run.mark("tried", {name: asdict(found) for name, found in tried.items()})
    return tried


def _load(
    run: RunFolder,
    stack: Stack,
    arms: dict[str, ServiceArm],
    catalog: Catalog,
    profile: Profile,
    seed: int,
    tell: Callable[[float], None],
) -> LoadResult:
    files = run.path / "load.parquet", run.path / "load_slots.parquet"
    if "load" in run.done:
        return LoadResult(pd.read_parquet(files[0]), pd.read_parquet(files[1]), run.done["load"])
    catalog_path = run.path / "catalog.json"
    catalog_path.write_text(catalog_file(catalog))
    for arm in arms.values():
        arm.reset()
    hosts = {name: arm.url for name, arm in arms.items()}
    load = run_load(stack, run.path, hosts, profile, seed, catalog_path, tell)
    load.requests.to_parquet(files[0], index=False)
    load.slots.to_parquet(files[1], index=False)
    run.mark("load", load.described)
    return load


def _until_decided(
    claims: list[Claim],
    arms: dict[str, ServiceArm],
    catalog: Catalog,
    profile: Profile,
    request: ReportRequest,
    yardstick: Callable[[], float],
    measured: Measurements,
) -> None:
    """Add blocks, a claim after the other, to those that are not decided yet, until all are or the time is over."""
    deadline = time.monotonic() + request.until_decided_min * 60
    blocks = profile.blocks
    open_claims = [claim for claim in claims if claim.timed]
    while time.monotonic() < deadline:
        frames = measured.samples_frame(), measured.slots_frame()
        open_claims = [claim for claim in open_claims if claim_course(claim, *frames).decided_at is None]
        if not open_claims:
            return
        blocks += 1
        for claim in open_claims:
            size = profile.slot(claim.operations, QUANTILES.get(claim.metric))
            run_claim(claim, arms, catalog, size, blocks, request.seed, measured, yardstick=yardstick, first=blocks - 1)


def _summary(
    run: RunFolder,
    request: ReportRequest,
    profile: Profile,
    base: Loaded,
    environment: dict[str, Any],
    client: dict[str, float],
    results: list[ClaimResult],
) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "resumed": bool(request.resume),
        "profile": profile.name,
        "seed": request.seed,
        "cards": base.cards,
        "relationships": base.relationships,
        "inventory": request.inventory.name if request.inventory else None,
        "portfolio": base.label,
        "parameters": profile.as_dict(),
        "environment": environment,
        "client": client,
        "claims": [result.as_dict() for result in results],
        "stages": run.stages,
    }


def _notebooks(run: RunFolder, tell: Callable[[float], None]) -> list[NotebookPage]:
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if reads_a_run(path.stem)]
    done = 0

    def one(path: Path) -> NotebookPage:
        nonlocal done
        page = run_notebook(path, run.path, {"run": str(run.path)})
        done += 1
        tell(done / len(paths))
        return page

    # side by side: these only read what was measured; each is a process of its own
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, paths))
