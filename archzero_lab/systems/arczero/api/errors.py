"""Every error of the API in one form: {"error": {"code", "message", "field"?, "details"?}}."""

from __future__ import annotations

import logging
import re
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.api.answers import as_response
from archzero_lab.systems.arczero.api.wire import of_error, of_exception
from archzero_lab.systems.arczero.cards.field_errors import in_words, named_field
from archzero_lab.systems.arczero.cards.model import CardsError

log = logging.getLogger(__name__)

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_value",
}
# what a parameter is called in a request, where our own name for it differs
_SENT_AS = {
    "page_size": "pageSize",
    "min_quality": "minQuality",
    "type_": "type",
    "phase": "lifecyclePhase",
    "owner": "ownerId",
}
_GONE = "client disconnected prematurely"
"""What Litestar calls a body that was cut off."""
_MISSING = re.compile(r"Missing required \w+ parameter '(\w+)'")


class BadParameter(Exception):
    """A query parameter or path part that cannot be read: 400 with its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def error_response(
    status: int, code: str, message: str, field: str | None = None, details: Any = None
) -> Response[bytes]:
    """An error in the contract's form."""
    return as_response(of_error(status, code, message, field, details))


def on_cards_error(_: Request[Any, Any, Any], error: CardsError | InventoryError) -> Response[bytes]:
    """An error of the card contract."""
    return as_response(of_exception(error))


def on_bad_parameter(_: Request[Any, Any, Any], error: BadParameter) -> Response[bytes]:
    """A parameter that cannot be read."""
    return error_response(400, "bad_request", str(error), error.field)


def on_validation(_: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """A request that breaks a shape: 422 for the body, 400 for parameters."""
    faults = error.extra if isinstance(error.extra, list) else []
    first = faults[0] if faults and isinstance(faults[0], dict) else {}
    if any(isinstance(fault, dict) and fault.get("message") == "'data'" for fault in faults):
        return error_response(400, "bad_request", "the body is missing; send a JSON object")
    in_body = first.get("source") == "body"
    message = str(first.get("message") or error.detail).split(" for path")[0]
    message, _sep, at = message.partition(" - at `$")
    missing = _MISSING.search(message)
    field = at.strip("`.") or (missing.group(1) if missing else str(first.get("key") or ""))
    if not field or field == "data":
        named, message = named_field(message)
        field = named or field
    field = _SENT_AS.get(field, field)
    message = in_words(field, message)
    status = 422 if in_body or at else 400
    return error_response(status, _CODES[status], message, field)


def on_http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own errors: no such path, wrong method, body too large, JSON that cannot be read."""
    status = error.status_code
    message = error.detail.split(" - at `$")[0].split(" for path")[0]
    if error.detail == _GONE:
        log.debug("a body that was cut off")  # nobody is there to be answered
    elif status == 500:
        log.error("unexpected", exc_info=error)
        message = "an unexpected error; it has been logged"
    return error_response(status, _CODES.get(status, "error"), message)


def on_decode_error(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A body that is no JSON at all, or nested too deeply."""
    return error_response(400, "bad_request", f"the body is not valid JSON: {error}")


def on_unexpected(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Everything else is a fault of ours: logged, not told."""
    return as_response(of_exception(error))


HANDLERS: dict[Any, Any] = {
    CardsError: on_cards_error,
    InventoryError: on_cards_error,
    BadParameter: on_bad_parameter,
    ValidationException: on_validation,
    HTTPException: on_http_error,
    msgspec.DecodeError: on_decode_error,
    RecursionError: on_decode_error,
    Exception: on_unexpected,
}
