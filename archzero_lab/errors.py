"""The errors of this project: each says what happened, where, and what to do next."""

from __future__ import annotations

import re

# up to the last @: a password with an @ or a / that was not escaped is masked as well; a port is none
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s:/@]*):(?!\d+(?:[/?#]|$))[^\s'\"]*@", re.IGNORECASE)
# up to the next space, as libpq reads it: of a URL its other parameters as well, which is no loss
_NAMED_PASSWORD = re.compile(
    r"(?P<head>password\s*=\s*)(?:'(?:[^'\\]|\\.)*'|(?:\\.|\S)+?(?=:?(?:\s|$)))", re.IGNORECASE
)


class LabError(Exception):
    """Base of all errors that a person can act on. The CLI prints it in a line and exits 2.

    Passwords are masked here, at the one place every message passes through.
    """

    def __init__(self, message: str) -> None:
        super().__init__(mask_secrets(message))


class SettingsError(LabError):
    """A setting in archzero.toml or an ARCHZERO_* variable that cannot be used."""


class ServerError(LabError):
    """A PostgreSQL, Redis or service process that could not be found, started or reached."""


class DatabaseError(LabError):
    """A database that is not as needed: no extension, no permission, a failed migration."""


class InventoryError(LabError):
    """A line of an inventory that breaks the card contract. Nothing was loaded."""


class UnknownNameError(LabError):
    """A claim, profile, arm or notebook parameter that does not exist; the message lists those that do."""


class MeasurementError(LabError):
    """A measurement that could not be taken or whose answers were wrong."""


class NotebookError(LabError):
    """A notebook that did not run to its end."""


def mask_secrets(text: str) -> str:
    """Replace the password of every URL in `text` by `***`, and that of libpq's key=value form.

    >>> mask_secrets("postgresql://lab:s3cret@127.0.0.1:5432/x")
    'postgresql://lab:***@127.0.0.1:5432/x'
    """
    return _NAMED_PASSWORD.sub(r"\g<head>***", _URL_PASSWORD.sub(r"\g<head>:***@", text))


def unknown_name(kind: str, given: str, known: list[str]) -> UnknownNameError:
    """An UnknownNameError that names what was given and what there is."""
    return UnknownNameError(f"unknown {kind} '{given}'; known: {', '.join(known)}")
