"""Runs conformance_inside.py: a process for each test module, and more where one crashes or hangs.

Every test that was asked for has a result, whatever happens to the process it ran in.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).with_name("conformance_inside.py")
BAD = {"fail", "error", "crash", "hang"}
STARTUP = 60.0
#: More bad tests than this in a module are no noise: they are not tried again.
MOST_TRIED_AGAIN = 40


@dataclass
class Result:
    """What came of a test: pass, fail, error, skip, crash or hang."""

    status: str
    detail: str = ""
    #: The test has made a loop.
    used: bool = False
    #: It came out so at the first try.
    first: str = ""


@dataclass
class Module:
    """What came of a test module."""

    tests: dict[str, Result] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    #: Why nothing could be run, or how the process died after its last test.
    trouble: str = ""


@dataclass(frozen=True)
class Setting:
    """Whose tests run on which loop."""

    python: Path
    loop: str
    timeout: float

    def on(self, loop: str) -> "Setting":
        return Setting(self.python, loop, self.timeout)


class Child:
    """A process that runs tests of one module."""

    def __init__(self, setting: Setting, module: str):
        self.folder = tempfile.TemporaryDirectory(prefix="conformance-")
        self.log = Path(self.folder.name) / "log"
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        self.timeout = setting.timeout
        self.events_fd, theirs = os.pipe()
        self.buffer = b""
        command: list[str | Path] = [setting.python, "-X", "faulthandler", "-W", "ignore", INSIDE]
        self.process = subprocess.Popen(
            [*command, setting.loop, module, str(setting.timeout), str(theirs)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.folder.name,
            pass_fds=[theirs],
            start_new_session=True,
        )
        assert self.process.stdin is not None
        self.stdin = self.process.stdin
        os.close(log)
        os.close(theirs)

    def choose(self, ids: Iterable[str]) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(json.dumps(list(ids)).encode())
            self.stdin.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """What it tells; {"event": "timeout"} when that took too long."""
        patience = STARTUP
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                event = json.loads(line)
                patience = self.timeout + 2 if event["event"] == "start" else STARTUP
                yield event
                continue
            if not select.select([self.events_fd], [], [], patience)[0]:
                yield {"event": "timeout"}
                return
            data = os.read(self.events_fd, 65536)
            if not data:
                return
            self.buffer += data

    def end(self, patience: float = 10) -> tuple[int | None, str]:
        """Its exit status, None if it had to be killed, and the end of its output."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            status = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        os.close(self.events_fd)
        text = self.log.read_text(errors="replace")[-3000:]
        self.folder.cleanup()
        return status, text


def run_module(setting: Setting, module: str, wanted: Callable[[str], bool]) -> Module:
    """Run the wanted tests of a module; bad ones once more, each alone."""
    out = Module()
    run_some(setting, module, wanted, out)
    bad = [name for name, result in out.tests.items() if result.status in BAD]
    if len(bad) <= MOST_TRIED_AGAIN:
        for name in bad:
            try_again(setting, module, name, out)
    return out


def try_again(setting: Setting, module: str, name: str, out: Module) -> None:
    again = Module()
    run_some(setting, module, {name}.__contains__, again)
    result = again.tests.get(name, out.tests[name])
    if result.status not in BAD and again.trouble:
        result = Result("crash", again.trouble)
    result.first = out.tests[name].status
    out.tests[name] = result


def run_some(setting: Setting, module: str, wanted: Callable[[str], bool], out: Module) -> None:
    """Run the wanted tests in as few processes as crashes and hangs allow."""

    def choose(ids: list[str]) -> list[str]:
        out.excluded = [name for name in ids if not wanted(name)]
        return [name for name in ids if wanted(name) and name not in out.tests]

    while True:
        life = watch(Child(setting, module), choose, out.tests)
        if life.how == "done":
            if life.status != 0:
                out.trouble = f"exit status {life.status} after the last test\n{life.log}"
            return
        text = f"exit status {life.status}\n{life.log}"
        if life.guilty is None:
            out.trouble = f"could not be run, {text}"
            return
        out.tests[life.guilty] = Result(life.how, text, used=True)


@dataclass
class Life:
    """How a process fared: done, crash or hang."""

    how: str = "crash"
    #: The test that ran when it ended; between two tests, the one before.
    guilty: str | None = None
    status: int | None = None
    log: str = ""


def watch(
    child: Child, choose: Callable[[list[str]], list[str]], results: dict[str, Result]
) -> Life:
    """Follow a process to its end and write down what came of its tests."""
    life = Life()
    for event in child.events():
        match event:
            case {"event": "plan", "ids": ids}:
                child.choose(choose(ids))
            case {"event": "start", "id": name}:
                life.guilty = name
            case {"event": "end", "id": name}:
                results[name] = Result(event["status"], event["detail"], event["used"])
            case {"event": "timeout"}:
                life.how = "hang"
            case {"event": "done"}:
                life.how = "done"
    life.status, life.log = child.end(patience=0 if life.how == "hang" else 10)
    return life


def test_modules(python: Path) -> list[str]:
    """The modules of the interpreter's test.test_asyncio, the long ones first; none without it."""
    ask = "import os, test.test_asyncio as t; print(*os.listdir(os.path.dirname(t.__file__)))"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    names = [name.removesuffix(".py") for name in done.stdout.split() if name.endswith(".py")]
    long = ["test_subprocess", "test_sslproto", "test_events", "test_tasks", "test_ssl"]
    names = sorted(name for name in names if name.startswith("test_"))
    return sorted(names, key=lambda name: -long.index(name) if name in long else 1)


if __name__ == "__main__":
    sys.exit("run tools/conformance.py")
