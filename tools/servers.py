"""Real servers on loopback for tests with other people's software: started, and gone at the end.

They come from the system's packages (Debian: `postgresql`, `redis-server`). Each keeps its files in
a folder of its own and listens on a free port.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# PostgreSQL refuses to run as root.
UNPRIVILEGED = "nobody"
PATIENCE = 60.0  # seconds until a server answers


class Missing(Exception):
    """A program that is not installed; the message says which, and what package has it."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def unprivileged() -> dict[str, Any]:
    """What `subprocess` is told so that the child is not root; nothing if we are not."""
    return {"user": UNPRIVILEGED} if getpass.getuser() == "root" else {}


def wait_for_port(port: int, child: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until somebody listens on the port; RuntimeError if the child ends before."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if child is not None and child.poll() is not None:
            raise RuntimeError(f"{child.args!r} ended with status {child.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port} after {PATIENCE} s")


@contextlib.contextmanager
def running(*command: str | Path, port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that listens on the port, until the end of the block."""
    child = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, **options)
    try:
        wait_for_port(port, child)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres`, of the newest version there is."""
    on_path = shutil.which("initdb")
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
    )
    if not on_path and not found:
        raise Missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found[-1].parent if found else Path(str(on_path)).parent


@contextlib.contextmanager
def postgres() -> Iterator[int]:
    """A PostgreSQL that trusts everybody as user `postgres`; its port."""
    programs = postgres_programs()
    with tempfile.TemporaryDirectory(prefix="oxloop-postgres-", ignore_cleanup_errors=True) as top:
        who = unprivileged()
        if who:
            shutil.chown(top, **who)
        data, port = Path(top) / "data", free_port()
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=top,
            **who,
        )
        command = (programs / "postgres", "-D", data, "-p", str(port), "-k", top, "-F")
        with running(*command, port=port, cwd=top, stderr=subprocess.DEVNULL, **who):
            yield port


@contextlib.contextmanager
def redis(port: int | None = None) -> Iterator[int]:
    """A Redis that keeps nothing; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("Redis is not installed (Debian: apt-get install redis-server)")
    port = port or free_port()
    command = (program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir")
    with tempfile.TemporaryDirectory(prefix="oxloop-redis-") as top:
        options = ("--unixsocket", f"{top}/redis.sock", "--enable-debug-command", "yes")
        with running(*command, top, *options, port=port, stdout=subprocess.DEVNULL):
            yield port


def environment(**more: str) -> dict[str, str]:
    """Ours, with what a child shall see besides."""
    return {**os.environ, **more}
