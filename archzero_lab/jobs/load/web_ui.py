"""Locust's web UI on an arm: served until a signal ends it, and what its last run came to kept as a load's run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from archzero_lab.errors import MeasurementError
from archzero_lab.jobs.load.loads import Target, keep_results, locust_command, processes_of
from archzero_lab.jobs.load.request import DEFAULT_RATE, LOADTESTS, LoadRequest
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.process import has_ended
from archzero_lab.servers.resources import Sampler
from archzero_lab.servers.stack import registry

_ENDS_WITHIN_S = 45
"""Users end their last request, and the result is written."""


def serve_ui(
    target: Target, request: LoadRequest, folder: Path, port: int, say: Callable[[str], None]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Serve the web UI with the workload that is asked for and shapes to pick, until we get a signal.

    What its last run came to and what the processes used meanwhile, a row a second; an empty result where there was
    no run that can be told. `say` is given what Locust prints. Raises MeasurementError where Locust ends by itself.
    """
    out, log = folder / ".locust-ui.json", folder / "locust-ui.log"
    command = locust_command(request, target.host, rate_per_s=request.rate_per_s or DEFAULT_RATE)
    command += ["--web-host", "127.0.0.1", "--web-port", str(port), "--class-picker", "--result-file", str(out)]
    command += processes_of(request)
    chosen = "OpenArrivals" if request.is_open else request.closed_user
    command.append(chosen)
    env = {**os.environ, **target.environment, "ARCHZERO_LOAD_HOSTS": json.dumps([target.host])}
    env["ARCHZERO_UI_CLASSES"] = chosen
    if (folder / "catalog.json").exists():
        env["ARCHZERO_CATALOG"] = str(folder / "catalog.json")
    processes = registry()
    # in a session of its own: Ctrl-C at the terminal is ours, and Locust is ended once
    record = processes.spawn("locust-ui", command, log=log, env=env, cwd=LOADTESTS)
    with Sampler(target.families) as sampler:
        try:
            with log.open() as printed:
                while not has_ended(record):
                    if text := printed.read():
                        say(text.rstrip())
                    time.sleep(0.1)
                say(printed.read().rstrip())
            raise MeasurementError("Locust ended by itself; what it printed stands above")
        except KeyboardInterrupt:
            pass  # that is how a web UI ends
        finally:
            processes.stop(record, grace_s=_ENDS_WITHIN_S)
    if not out.exists():
        return {}, sampler.frame()
    result: dict[str, Any] = json.loads(out.read_text())
    if not result["requests"] or (result["shape"] == "capacity" and result["capacity"] is None):
        return {}, sampler.frame()
    return result, sampler.frame()


def keep_ui_run(
    target: Target, request: LoadRequest, result: dict[str, Any], resources: pd.DataFrame, run: Run
) -> dict[str, Any]:
    """Keep the last run of a web UI as a load's: its shape and its rate are those that were picked there."""
    rate = result["offered_rate_per_s"] if result["workload"] == "open" else None
    picked = replace(request, shape=result["shape"], rate_per_s=rate, duration_s=float(result["seconds"]), rounds=0)
    during = resources[resources["at"].between(result["began"], result["began"] + result["seconds"] + 1)]
    during = during.assign(arm=target.arm, round=0)
    return keep_results([target], picked, {target.arm: [result]}, during, run)
