"""What the server's errors are told as: 503 where a later attempt may work, never as "away" what is not."""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg import errors

from archzero_lab.settings import ROOT
from archzero_lab.systems.arczero.cards.faults import _MEANINGS, translated
from archzero_lab.systems.arczero.cards.model import Conflict, InvalidValue, Unavailable


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (errors.ReadOnlySqlTransaction, "takes no writes"),
        (errors.SerializationFailure, "changed the same"),
        (errors.DeadlockDetected, "changed the same"),
        (errors.LockNotAvailable, "somebody else is changing"),
        (errors.QueryCanceled, "took too long"),
        (errors.DiskFull, "no room"),
        (errors.TooManyConnections, "no room"),
        (errors.AdminShutdown, "cannot be reached"),
        (errors.CannotConnectNow, "cannot be reached"),
        (errors.ConnectionFailure, "cannot be reached"),
        (psycopg.OperationalError, "cannot be reached"),
        (errors.lookup("25P04"), "took too long"),
        (errors.IdleInTransactionSessionTimeout, "idled too long"),
        (errors.InsufficientPrivilege, "give its role the rights"),
        (errors.IoError, "its disk or its machine"),
        (errors.DataCorrupted, "itself damaged"),
        (errors.InvalidPassword, "does not let the service in"),
        (errors.InvalidCatalogName, "is not there"),
        (errors.ObjectInUse, "uses the same"),
        (errors.ObjectNotInPrerequisiteState, "not ready"),
    ],
)
def test_what_may_work_later_is_unavailable_in_its_own_words(raised: type[psycopg.Error], told: str) -> None:
    with pytest.raises(Unavailable, match=told), translated():
        raise raised("x")


def test_whatever_the_server_itself_answers_with_is_told_as_its_own_trouble() -> None:
    """Connections, conflicts, room, an operator, its machine, its files, a login: no word of a fault of the service."""
    known = [one for one in vars(errors).values() if isinstance(getattr(one, "sqlstate", None), str)]
    its_own = [one for one in known if one.sqlstate[:2] in ("08", "40", "53", "57", "58", "XX", "28", "3D")]
    assert len(its_own) > 30
    for raised in its_own:
        with pytest.raises(Unavailable), translated():
            raise raised("x")


def test_what_the_caller_can_mend_is_theirs_and_a_fault_of_ours_passes() -> None:
    with pytest.raises(Conflict), translated():
        raise errors.UniqueViolation("x")
    with pytest.raises(InvalidValue), translated():
        raise errors.NumericValueOutOfRange("x")
    with pytest.raises(errors.UndefinedColumn), translated():
        raise errors.UndefinedColumn("x")


def test_the_page_of_what_is_told_has_every_word_and_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for told in _MEANINGS.values():
        assert told in page
    names = set(re.findall(r"\btest_\w+", page))
    assert names
    assert names <= {path.stem for path in (ROOT / "tests").glob("*/test_*.py")}
