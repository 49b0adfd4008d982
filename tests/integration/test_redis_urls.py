"""The same cache over TLS, and what a URL may not be."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.servers import redis_server
from archzero_lab.servers.stack import Stack
from tests.integration.cached_over_groups import exercise
from tests.integration.conftest import PATIENT, open_cached


def _program(stack: Stack) -> Path:
    system = stack.settings.servers == "system"
    return redis_server.system_program() if system else redis_server.embedded_program()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that the server user can reach."""
    made = Path(f"/tmp/archzero-redis-{uuid.uuid4().hex[:8]}")  # noqa: S108
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("url", ["http://h/0", "redis+sentinel2://h/x"])
async def test_a_url_of_no_known_scheme_is_told(database_url: str, url: str) -> None:
    with pytest.raises(SettingsError, match="unknown scheme"):
        async with open_cached(database_url, url, PATIENT):
            pass


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@asynccontextmanager
async def _tls_in_front_of(port: int, certificate: Path, key: Path) -> AsyncIterator[int]:
    """A port that speaks TLS and passes on to a Redis that does not (the wheel's Valkey is built without), as stunnel
    does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
async def test_over_tls_with_the_server_s_certificate_checked(stack: Stack, database_url: str, folder: Path) -> None:
    password = uuid.uuid4().hex
    server = redis_server.start_redis(_program(stack), folder, stack.registry, password=password)
    try:
        certificate, key = _certificate(folder)
        port = int(server.url.rpartition(":")[2].split("/")[0])
        async with _tls_in_front_of(port, certificate, key) as tls_port:
            url = f"rediss://:{password}@127.0.0.1:{tls_port}/0"
            for near in (0, 1_000_000):
                settings = replace(PATIENT, near_bytes=near)
                async with open_cached(database_url, f"{url}?ssl_ca_certs={certificate}", settings) as service:
                    assert service.store.link.licensed
                    await exercise(service)
            # an unknown certificate is no Redis of ours: the service goes on without
            async with open_cached(database_url, url, replace(PATIENT, timeout_s=0.5)) as service:
                assert not service.store.link.licensed
                assert (await service.store.health())["connected"] is False
    finally:
        stack.registry.stop(server.record)
