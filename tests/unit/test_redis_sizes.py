"""Sizes of Redis' arguments and answers: the same for whatever random name, number or token is in them."""

from __future__ import annotations

import base64
import random
import struct
import time
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.servers.redis_sizes import size_of

_RANDOM = random.Random(1)


def _token(kind: Callable[[bytes], bytes], size: int = 32) -> Callable[[], bytes]:
    return lambda: b"session:" + kind(_RANDOM.randbytes(size)) + b":cart"


@pytest.mark.parametrize(
    "made",
    [
        _token(base64.urlsafe_b64encode),
        _token(base64.b64encode),
        _token(lambda one: base64.urlsafe_b64encode(one).rstrip(b"=")),
        lambda: _RANDOM.randbytes(16),
        lambda: struct.pack("<d", time.time() + _RANDOM.random()),
        lambda: b"v1:" + str(uuid.UUID(bytes=_RANDOM.randbytes(16))).encode(),
        lambda: b"lock:" + _RANDOM.randbytes(8).hex().encode(),
        lambda: f"2026-11-30T10:00:05.{_RANDOM.randrange(1, 10**6):06}".rstrip("0").encode() + b"Z",
        lambda: f"maxAge={_RANDOM.randrange(1, 90_000)}".encode(),
        lambda: f"at {_RANDOM.random()} of {_RANDOM.randrange(10**12)}".encode(),
    ],
)  # fmt: skip
def test_what_is_random_in_a_text_does_not_change_its_size(made: Callable[[], bytes]) -> None:
    sizes = {size_of(made()) for _ in range(5_000)}
    assert len(sizes) == 1


@given(st.text(alphabet="abcxyz :{}[],", max_size=60), st.integers(1, 40))
def test_a_longer_text_has_a_greater_size(text: str, more: int) -> None:
    assert size_of((text + "z" * more).encode()) >= size_of(text.encode()) + more - 1


def test_what_is_packed_counts_whole_behind_its_header() -> None:
    header = b"V0123456789abcdef 0000000007 "
    packed = bytes([0xFF, 0xFE, 0x61, 0x62, 0x63])
    assert size_of(header + packed) == size_of(header) + len(packed)
    assert size_of([b"12", None, 7, {b"k": b"ab"}]) == 1 + 0 + 1 + 2
