"""A page beside Locust's own: hit rates, database, pool and Redis next to the latency, second by second, no network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pace
import recorder
import service_watch
from flask import Blueprint, Response, jsonify

SHOWN_S = 300
_PAGE = Path(__file__).with_name("live_page.html")
_LINK = (
    '<a href="{path}" style="position:fixed;right:16px;bottom:16px;z-index:9999;padding:10px 16px;border-radius:8px;'
    'background:#00694f;color:#fff;font:600 14px system-ui,sans-serif;text-decoration:none">'
    "Cache and database, live</a>"
)


def plotly_js() -> str | None:
    """The chart library of the plotly package; None where that is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return None
    return str(get_plotlyjs())


def serve(environment: Any, web_ui: Any) -> None:
    """Add the page to Locust's web UI, behind its login where it has one, and a link to it on Locust's page."""
    pages = Blueprint("archzero", __name__, url_prefix=(web_ui.app.config.get("APPLICATION_ROOT") or "/").rstrip("/"))

    @pages.route("/live")
    @web_ui.auth_required_if_enabled
    def page() -> Response:
        return Response(_PAGE.read_text(), mimetype="text/html")

    @pages.route("/live/plotly.js")
    @web_ui.auth_required_if_enabled
    def library() -> Response:
        code = plotly_js()
        missing = "document.body.prepend('The charts need the package plotly: pip install plotly')"
        answer = Response(code if code is not None else missing, mimetype="text/javascript")
        answer.cache_control.max_age = 86_400
        return answer

    @pages.route("/live/data")
    @web_ui.auth_required_if_enabled
    def data() -> Response:
        return jsonify(live(environment))

    web_ui.app.register_blueprint(pages)

    @web_ui.app.after_request
    def link(answer: Any) -> Any:
        if answer.mimetype == "text/html" and answer.status_code == 200 and not answer.direct_passthrough:
            text = answer.get_data(as_text=True)
            if 'id="root"' in text:
                answer.set_data(text.replace("</body>", _LINK.format(path="live") + "</body>"))
        return answer


def live(environment: Any) -> dict[str, Any]:
    """The last SHOWN_S seconds, times in ms by second and rates between the service's totals; what the run came to."""
    origin = pace.CURRENT.origin
    # what has ended stays as it was
    now = min(time.time(), origin + max(recorder.RECORDER.seconds, default=0) + 3)
    seconds = {
        origin + at: second
        for at, second in sorted(recorder.RECORDER.seconds.items())
        if now - SHOWN_S <= origin + at < now - 2
    }
    times = [
        {
            "at": at,
            "requests": second.counts["done"],
            "failures": second.counts["failed"],
            **{
                name: None if value is None else value * 1000
                for name, value in second.times["response"].summary().items()
            },
        }
        for at, second in seconds.items()
    ]
    return {
        "state": environment.runner.state,
        "host": environment.host,
        "answered": sum(second.counts["done"] for second in recorder.RECORDER.seconds.values()),
        "failed": sum(second.counts["failed"] for second in recorder.RECORDER.seconds.values()),
        "times": times,
        "service": service_watch.rates(recorder.RECORDER.service[-SHOWN_S:]),
    }
