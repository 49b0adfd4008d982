"""Servers of an experiment's own, to be hurt: killed, stopped, restarted, put at a distance, without harm to others."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from archzero_lab.errors import ServerError
from archzero_lab.servers import postgres_server, redis_server
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.private_files import open_to_all
from archzero_lab.servers.process import has_ended, is_alive
from archzero_lab.servers.server_home import server_home
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import STATE


def _home() -> Path:
    home = server_home(STATE) / f"hurt-{uuid.uuid4().hex[:8]}"
    return open_to_all(home)


class HurtRedis:
    """A Redis on one port and password through every restart."""

    extra_config: Sequence[str] = ()
    """Lines of its configuration beside those of any Redis of the lab."""

    def __init__(self, stack: Stack, password: str | None = None) -> None:
        system = stack.settings.servers == "system"
        self.program = redis_server.system_program() if system else redis_server.embedded_program()
        self._registry = stack.registry
        self._home = _home()
        self.port, self._password = free_port(), password or uuid.uuid4().hex
        self.server = self._start()

    def _start(self) -> redis_server.RedisServer:
        return redis_server.start_redis(
            self.program, self._home, self._registry, port=self.port, password=self._password, maxmemory_mb=256,
            extra_config=self.extra_config,
            # one that runs a script on and on does not hear SIGTERM, and its owner may have been killed meanwhile
            stop_signal=signal.SIGKILL,
        )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.server.record.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.server.record.pid, 0)  # a child of ours: gone at once, not when somebody looks
        self._registry.stop(self.server.record)

    def is_up(self) -> bool:
        """Whether its process runs."""
        return is_alive(self.server.record) and not has_ended(self.server.record)

    def start(self, keep_data: bool = False) -> None:
        """Start it again, with the data it last saved or with none."""
        if not keep_data:
            (self._home / "redis" / "dump.rdb").unlink(missing_ok=True)
        self.server = self._start()

    def restart(self, keep_data: bool) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start(keep_data)

    def close(self) -> None:
        """Stop it and remove what it kept."""
        self._registry.stop(self.server.record)
        shutil.rmtree(self._home, ignore_errors=True)


class HurtPostgres:
    """A PostgreSQL on one port and cluster through every restart."""

    def __init__(self, stack: Stack, home: Path | None = None) -> None:
        """In a folder of its own, or a given one."""
        self._programs = stack.postgres_programs
        self._registry = stack.registry
        self._home = home or _home()
        self._port = free_port()
        self.start()

    def start(self) -> None:
        """Start it, again or for the first time, and wait until it answers."""
        self.server = postgres_server.start_postgres(self._programs, self._home, self._registry, port=self._port)

    def stop(self, *, immediate: bool = False) -> None:
        """End it: connections are cut, transactions under way lost; `immediate` as by a crash, without a word."""
        record = self.server.record
        self._registry.stop(replace(record, stop_signal=signal.SIGQUIT) if immediate else record)

    def kill(self) -> None:
        """SIGKILL: its other processes end when they notice."""
        os.kill(self.server.record.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.server.record.pid, 0)
        self._registry.stop(self.server.record)

    def is_up(self) -> bool:
        """Whether its process runs."""
        return is_alive(self.server.record) and not has_ended(self.server.record)

    def processes(self) -> list[int]:
        """It and those that serve a session each, or look after the rest."""
        with suppress(psutil.Error):
            server = psutil.Process(self.server.record.pid)
            return [server.pid, *(child.pid for child in server.children())]
        return []

    def close(self) -> None:
        """Stop it and remove its cluster."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)


class Relay:
    """A relay in front of a server; `url` is the server's URL by way of it."""

    def __init__(self, stack: Stack, url: str, name: str) -> None:
        target = urlsplit(url).port
        assert target is not None
        self._port, control = free_port(), free_port()
        self.url = self.through(url)
        self._registry = stack.registry
        logs = STATE / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "archzero_lab.servers.relay", str(self._port), str(target), str(control)]
        self.record = stack.registry.spawn(f"relay-{name}", argv, log=logs / f"relay-{name}.log", env=dict(os.environ))
        try:
            self._control = _connected(control)
        except BaseException:
            stack.registry.stop(self.record)
            raise

    def through(self, url: str) -> str:
        """A URL of the same server, by way of the relay."""
        parts = urlsplit(url)
        credentials = parts.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{self._port}"
        return urlunsplit(parts._replace(netloc=f"{credentials}@{place}" if credentials else place))

    def set(self, *, delay_ms: float = 0.0, swallow: bool = False) -> None:
        """From now on: this much longer a round trip, or nothing arrives any more."""
        for line in (f"delay_ms {delay_ms}\n", f"swallow {int(swallow)}\n"):
            self._control.sendall(line.encode())
            self._control.recv(16)

    def close(self) -> None:
        """End it, and with it every connection through it."""
        self._control.close()
        self._registry.stop(self.record)


def _connected(port: int, timeout_s: float = 15.0) -> socket.socket:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise ServerError("the relay did not start; see .lab/logs") from None
            time.sleep(0.02)  # polling until the process listens
