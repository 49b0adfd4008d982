"""PostgreSQL's and the pool's errors told in the words of the card contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from archzero_lab.errors import ServerError
from archzero_lab.systems.arczero.cards.model import Conflict, InvalidReference, InvalidValue, Unavailable


@contextmanager
def translated() -> Iterator[None]:
    """Raise what a caller can act on in place of the driver's errors. A programming error passes unchanged."""
    try:
        yield
    except errors.UniqueViolation as error:
        what = "id" if (error.diag.constraint_name or "").endswith("_pkey") else "type and name"
        raise Conflict(f"there is already one of the same {what}{_key_and_row(error)}") from None
    except errors.ForeignKeyViolation as error:
        end = "toCardId" if "target" in (error.diag.message_detail or "") else "fromCardId"
        raise InvalidReference(f"{end} is not the id of a card{_key_and_row(error)}") from None
    except errors.CheckViolation as error:
        if error.diag.constraint_name != "relationships_valid_check":
            raise  # the contract's shapes hold the others
        raise InvalidValue("validTo: is before validFrom") from None
    except (errors.StatementTooComplex, errors.ProgramLimitExceeded) as error:
        raise InvalidValue(f"too large for the database: {error.diag.message_primary}") from None
    except PoolClosed:
        raise Unavailable("the database cannot be reached; try again in a moment") from None
    except ServerError as error:  # below the statements results are cached, and Redis did not hear of a write
        raise Unavailable(str(error)) from None
    except (PoolTimeout, TooManyRequests):
        raise Unavailable("all database connections are busy; try again in a moment") from None
    except psycopg.DataError as error:
        raise InvalidValue(f"the database does not take a value: {error.diag.message_primary or error}") from None
    except psycopg.Error as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        raise Unavailable(meaning) from None


def _key_and_row(error: psycopg.Error) -> str:
    """Which key it was, and which row of an import, as far as PostgreSQL says."""
    key = re.search(r"\)=\((.*)\) ", error.diag.message_detail or "")
    row = re.search(r"^COPY \w+, line (\d+)", error.diag.context or "", re.MULTILINE)
    return (f": {key[1]}" if key else "") + (f" (row {row[1]})" if row else "")


_AWAY = "the database cannot be reached; try again in a moment"
_MEANINGS = {
    "57014": "the database took too long for this question; narrow it or try again",
    "25006": "the database takes no writes at the moment (read only); reads go on; try again in a moment",
    "55P03": "somebody else is changing the same; try again in a moment",
    "40": "somebody else changed the same at the same moment, nothing was written; try again",
    "53": "the database has no room for more at the moment; try again in a moment",
    "25P03": "the database ended the session, which idled too long within a transaction; try again",
    "25P04": "the database took too long for this; try again, or ask for less",
    "55000": "the database is not ready for this at the moment; try again in a moment",
    "55006": "somebody else uses the same; try again in a moment",
    "58": "the database has trouble with its disk or its machine; whoever runs it must look at its log",
    "XX": "the database has found itself damaged or met a fault of its own; whoever runs it must look at its log",
    "28": "the database does not let the service in; whoever runs it must look at the role and its password",
    "3D": "the database is not there; whoever runs it must look at the service's URL",
    "42501": "the service may not do this in its database; whoever runs it must give its role the rights",
    "08": _AWAY,
    "57": _AWAY,
}
"""SQLSTATE, or its class (PostgreSQL's documentation, appendix A) -> what is told with 503: it may work later.

What is not here is a fault of the service (42: a wrong statement, 0A, P0: a function's own) and is told as such.
"""


def _meaning(error: psycopg.Error) -> str | None:
    """What is told of an error that a later attempt may not meet; None for a fault of ours."""
    state = error.sqlstate
    if state is None:  # none of the server's: the connection is gone
        return _AWAY if isinstance(error, psycopg.OperationalError) else None
    return _MEANINGS.get(state) or _MEANINGS.get(state[:2])
