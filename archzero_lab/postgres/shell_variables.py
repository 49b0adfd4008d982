"""libpq's variables of the shell (PG…): what connecting needs goes into a user's own URL, the lab's own see none.

A command takes them out of its environment when it begins, so that its servers, services and measurements are the same
in every shell.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from urllib.parse import quote

NEEDED = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGPASSFILE": "passfile",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLSNI": "sslsni",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLCOMPRESSION": "sslcompression",
    "PGMINPROTOCOLVERSION": "min_protocol_version",
    "PGMAXPROTOCOLVERSION": "max_protocol_version",
    "PGGSSDELEGATION": "gssdelegation",
    "PGREQUIREAUTH": "require_auth",
    "PGCHANNELBINDING": "channel_binding",
    "PGGSSENCMODE": "gssencmode",
    "PGKRBSRVNAME": "krbsrvname",
    "PGGSSLIB": "gsslib",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}
"""Variable -> libpq's parameter that it is the default of."""
STEERING = (
    "PGHOSTADDR", "PGOPTIONS", "PGSERVICE", "PGSERVICEFILE", "PGDATABASE", "PGCLIENTENCODING", "PGTZ", "PGDATESTYLE",
    "PGGEQO", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGREQUIREPEER", "PGLOADBALANCEHOSTS",
)  # fmt: skip
"""They lead elsewhere, or change what is planned and answered: not used, and told where a user's database is."""
_taken: dict[str, str] = {}


def take_shell_variables(environ: MutableMapping[str, str]) -> None:
    """Take all of libpq's variables out of the environment, and remember them for `completed`."""
    for name in (*NEEDED, *STEERING):
        if (value := environ.pop(name, None)) is not None:
            _taken[name] = value


def given_to(environ: MutableMapping[str, str]) -> None:
    """Put them back: for a program that is the user's own again, such as his notebooks."""
    environ.update(_taken)


def completed(url: str) -> str:
    """A user's URL or key=value form with what the shell says and the text does not; unchanged where that is nothing.

    The rest of libpq's own defaults (~/.pgpass, ~/.postgresql) stand as ever. The text must be readable.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # a command that needs no database loads no driver

    parts = conninfo_to_dict(url)
    missing = {NEEDED[name]: value for name, value in _taken.items() if name in NEEDED and NEEDED[name] not in parts}
    if not missing:
        return url
    if "://" not in url:
        return make_conninfo(url, **missing)
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in missing.items())
    return f"{url}{'&' if '?' in url else '?'}{query}"


def unused() -> list[str]:
    """The variables of the shell that steer and are not used."""
    return [name for name in STEERING if name in _taken]
