"""Whom servers run as and where they keep what is theirs: for root, an unprivileged user outside of root's tree."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from archzero_lab.errors import ServerError
from archzero_lab.servers.private_files import open_to_all, readable_by_all

_ROOT_HOME = Path("/var/lib/archzero-lab")


def server_user() -> pwd.struct_passwd | None:
    """The unprivileged user for servers where the caller is root (PostgreSQL refuses root), else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError("root needs an unprivileged user for PostgreSQL: add one named 'nobody'")


def server_home(state: Path) -> Path:
    """The folder for data and logs of servers: in the state folder, or for root /var/lib/archzero-lab/<its hash>.

    Root's tree may lie where the unprivileged user cannot go, so its servers live outside it.
    """
    if os.geteuid() != 0:
        home = state / "servers"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return home
    digest = hashlib.sha256(str(state).encode()).hexdigest()[:12]
    open_to_all(_ROOT_HOME)
    return open_to_all(_ROOT_HOME / digest)


def readable_copy(source: Path, siblings: Sequence[Path], version: str) -> Path:
    """Where `source` can be run from by the server user: itself, or for root a copy that all trees share.

    `siblings` are folders that must keep their place beside it (libraries found by relative path).
    """
    if os.geteuid() != 0:
        return source
    target = _ROOT_HOME / "programs" / f"{source.name}-{version}"
    if not (target / ".complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        open_to_all(_ROOT_HOME)
        open_to_all(target.parent)
        partial = target.with_name(target.name + f".partial-{os.getpid()}")
        for folder in (source, *siblings):
            shutil.copytree(folder, partial / folder.name, symlinks=True)
        readable_by_all(partial)  # a hardened machine's umask made its files root's alone
        (partial / ".complete").touch()
        try:
            partial.rename(target)
        except OSError:  # another command was faster
            shutil.rmtree(partial, ignore_errors=True)
    return target / source.name
