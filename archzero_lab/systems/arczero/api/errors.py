"""Every error of the API in one form: {"error": {"code", "message", "field"?, "details"?}}."""

from __future__ import annotations

import logging
import re
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from archzero_lab.errors import InventoryError
from archzero_lab.systems.arczero.cards.model import (
    CardsError,
    Conflict,
    InvalidReference,
    InvalidValue,
    NotFound,
    Unavailable,
    VersionMismatch,
)

log = logging.getLogger(__name__)

_STATUS: dict[type[Exception], tuple[int, str]] = {
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    VersionMismatch: (412, "version_mismatch"),
    InvalidReference: (422, "invalid_reference"),
    InvalidValue: (422, "invalid_value"),
    InventoryError: (422, "invalid_row"),
    Unavailable: (503, "unavailable"),
}
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
RETRY_AFTER_S = 1
# what a parameter is called in a request, where our own name for it differs
_SENT_AS = {
    "page_size": "pageSize",
    "min_quality": "minQuality",
    "type_": "type",
    "phase": "lifecyclePhase",
    "owner": "ownerId",
}
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
    body: dict[str, Any] = {"code": code, "message": message}
    if field:
        body["field"] = field
    if details:
        body["details"] = details
    return Response(
        msgspec.json.encode({"error": body}),
        status_code=status,
        media_type="application/json",
        headers={"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {},
    )


def on_cards_error(_: Request[Any, Any, Any], error: CardsError | InventoryError) -> Response[bytes]:
    """An error of the card contract."""
    status, code = _STATUS[type(error)]
    return error_response(status, code, str(error))


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
    field = _SENT_AS.get(field, field)
    status = 422 if in_body or at else 400
    return error_response(status, _CODES[status], message, field)


def on_http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own errors: no such path, wrong method, body too large, JSON that cannot be read."""
    status = error.status_code
    message = error.detail.split(" - at `$")[0].split(" for path")[0]
    if status == 500:
        log.error("unexpected", exc_info=error)
        message = "an unexpected error; it has been logged"
    return error_response(status, _CODES.get(status, "error"), message)


def on_decode_error(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A body that is no JSON at all, or nested too deeply."""
    return error_response(400, "bad_request", f"the body is not valid JSON: {error}")


def on_unexpected(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Everything else is a fault of ours: logged, not told."""
    log.error("unexpected", exc_info=error)
    return error_response(500, "internal", "an unexpected error; it has been logged")


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
