"""Roundup on the database of DATABASE_URL: `make` creates it, `index` adds indexes, `serve` listens on PORT."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
import waitress
from roundup.cgi.wsgi_handler import RequestDispatcher

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent


def make_home(home: Path, port: str) -> None:
    """Roundup's own `install`, with the settings that it wants in a file."""
    database = urlsplit(os.environ["DATABASE_URL"])
    settings = {
        "rdbms_name": database.path[1:],
        "rdbms_host": database.hostname,
        "rdbms_port": database.port or 5432,
        "rdbms_user": database.username,
        "rdbms_password": unquote(database.password or ""),
        "tracker_web": f"http://127.0.0.1:{port}/tracker/",
        "mail_domain": "tracker.invalid",
        "mail_host": "localhost",
        # whoever logs in here is no browser: it sends neither Referer nor token
        "web_csrf_header_min_count": 0,
        "web_csrf_enforce_token": "no",
    }
    told = ",".join(f"{name}={value}" for name, value in settings.items())
    install = [PROGRAMS / "roundup-admin", "-i", home, "install", "classic", "postgresql", told]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    schema = home / "schema.py"
    # a tracker of a company: who has not logged in sees nothing
    opened = "db.security.addPermissionToRole('Anonymous', 'View', cl)"
    assert opened in schema.read_text()
    schema.write_text(schema.read_text().replace(opened, "pass"))


def main() -> None:
    """Do what the first argument says."""
    if sys.argv[1] == "index":
        with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection, connection:
            connection.cursor().execute((HERE / "index.sql").read_text())
        return
    port = os.environ.get("PORT", "8917")
    # it holds the database's password, and is gone with the process
    with tempfile.TemporaryDirectory(prefix="roundup-") as folder:
        home = Path(folder) / "home"
        make_home(home, port)
        if sys.argv[1] == "make":
            password = os.environ["TRACKER_PASSWORD"]
            subprocess.run([PROGRAMS / "roundup-admin", "-i", home, "initialise", password], check=True)
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            # its own server refuses to work as root, which some CI is
            waitress.serve(RequestDispatcher(str(home)), host="127.0.0.1", port=int(port), url_prefix="/tracker")


if __name__ == "__main__":
    main()
