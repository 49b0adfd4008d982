"""PostgreSQL's and the pool's errors told in the words of the card contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from archzero_lab.systems.arczero.cards.model import Conflict, InvalidReference, InvalidValue, Unavailable


@contextmanager
def translated() -> Iterator[None]:
    """Raise what a caller can act on in place of the driver's errors. A programming error passes unchanged."""
    try:
        yield
    except errors.UniqueViolation as error:
        detail = error.diag.constraint_name or ""
        what = "id" if detail.endswith("_pkey") else "type and name"
        raise Conflict(f"there is already one of the same {what}") from None
    except errors.ForeignKeyViolation:
        raise InvalidReference("fromCardId or toCardId is not the id of a card") from None
    except (errors.StatementTooComplex, errors.ProgramLimitExceeded) as error:
        raise InvalidValue(f"too large for the database: {error.diag.message_primary}") from None
    except PoolClosed:
        raise Unavailable("the database cannot be reached; try again in a moment") from None
    except (PoolTimeout, TooManyRequests):
        raise Unavailable("all database connections are busy; try again in a moment") from None
    except errors.QueryCanceled:
        raise Unavailable("the database took too long for this question; narrow it or try again") from None
    except psycopg.DataError as error:
        raise InvalidValue(f"the database does not take a value: {error.diag.message_primary or error}") from None
    except psycopg.OperationalError:
        raise Unavailable("the database cannot be reached; try again in a moment") from None
