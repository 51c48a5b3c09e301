"""The child processes: a server on a given loop, and a load generator against it.

Children get a session of their own, so Ctrl-C reaches only the driver, which then stops them.
"""

import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

from load.meter import Reading

EXAMPLES = Path(__file__).resolve().parent.parent
LOOPS = {"oxloop": ["-m", "oxloop"], "asyncio": []}  # what stands between python and the program
START_UP = 15.0  # seconds a server may take to listen
SHUT_DOWN = 5.0  # seconds it may take to end once asked
GRACE = 15.0  # seconds a load generator may take beyond those it was given
TICK = 0.1  # seconds between two looks at a running load generator


class Failure(Exception):
    """Something did not work as it should; the text is for the user."""


@dataclass(frozen=True)
class Program:
    """An example and the module that puts load on it."""

    name: str
    script: str
    load: str


PROGRAMS = [
    Program("http", "http_service.py", "load.http_load"),
    Program("chat", "chat_server.py", "load.chat_load"),
]


class Server:
    """A running example: a context manager that leaves no process behind."""

    def __init__(self, program: Program, loop: str) -> None:
        self.program = program
        self.loop = loop
        self.port = 0

    @property
    def title(self) -> str:
        return f"{self.program.script} on {self.loop}"

    def __enter__(self) -> Self:
        script = str(EXAMPLES / self.program.script)
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, *LOOPS[self.loop], script, "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
        )
        try:
            self.port = self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def wait_until_ready(self) -> int:
        readable, _, _ = select.select([self.process.stdout], [], [], START_UP)
        words = self.process.stdout.readline().split() if readable else []
        if len(words) != 2 or words[0] != b"ready":
            raise Failure(f"{self.title} did not start\n{self.complaints()}".rstrip())
        return int(words[1])

    def complaints(self) -> str:
        """What the server wrote to stderr."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            status = self.ask_to_end()
            if kind is None:
                self.check_end(status)
        finally:
            self.kill()

    def ask_to_end(self) -> int | None:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(SHUT_DOWN)
        except subprocess.TimeoutExpired:
            return None

    def check_end(self, status: int | None) -> None:
        if status is None:
            raise Failure(f"{self.title} did not end within {SHUT_DOWN} s of SIGTERM")
        if status or self.complaints():
            raise Failure(f"{self.title} ended with status {status}\n{self.complaints()}".rstrip())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def run_load(server: Server, seconds: float, tick: Callable[[], None]) -> Reading:
    """One round: the load generator in a process of its own; `tick` is called while it runs."""
    options = {"--port": server.port, "--pid": server.process.pid, "--seconds": seconds}
    process = subprocess.Popen(
        [sys.executable, "-m", server.program.load, *map(str, chain(*options.items()))],
        cwd=EXAMPLES,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            output, errors = wait(process, seconds + GRACE, tick)
        finally:
            process.kill()
    if process.returncode:
        complaints = f"{errors}{server.complaints()}".rstrip()
        raise Failure(f"{server.title}: the load generator failed\n{complaints}")
    reading = Reading(**json.loads(output))
    if reading.loop.partition(".")[0] != server.loop:
        raise Failure(f"{server.title} says that it ran on {reading.loop}")
    return reading


def wait(
    process: subprocess.Popen[str], seconds: float, tick: Callable[[], None]
) -> tuple[str, str]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return process.communicate(timeout=TICK)
        except subprocess.TimeoutExpired:
            tick()
        if time.monotonic() > deadline:
            raise Failure(f"the load generator did not end within {seconds:g} s")
