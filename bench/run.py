"""Measure oxloop against other event loops: CPU time per operation.

Every measurement is a fresh process, or two for echo servers: the server and its clients. The loops
take turns within a round and the order rotates, and ratios are medians over the rounds of the ratio
within a round, so drift of the machine cancels out. What counts is the CPU time of the process that
runs the loop, which other work on the machine disturbs least; of two cores the clients get another
than the server.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NoReturn

from child import GRACE
from load import WARM_UP
from loop_scenarios import SCENARIOS

HERE = Path(__file__).resolve().parent
OURS = "oxloop"
BASES = ("asyncio", "uvloop")
PEERS = ("uvloop", "zuvloop", "rloop")
#: What a default run may take in seconds, and what a measurement takes beyond what it measures.
BUDGET, OVERHEAD = 100, 0.45


@dataclass(frozen=True)
class Echo:
    """A server of echo_server.py and what its clients send: bytes at once, cut into lines."""

    server: str
    size: int
    lines: int = 1
    connections: int = 64


ECHOES = {
    "protocol_64b": Echo("protocol", 64),
    "protocol_16k": Echo("protocol", 16 * 1024),
    "streams_1k": Echo("streams", 1024),
    "lines_16x64b": Echo("lines", 16 * 64, lines=16),
    "sock_1k": Echo("sock", 1024),
}
NAMES = [*SCENARIOS, *ECHOES]


@dataclass(frozen=True)
class Result:
    """One measurement: microseconds per operation, or why there are none."""

    round: int
    scenario: str
    loop: str
    us: float | None = None
    operations: int = 0
    error: str | None = None


class MeasurementError(Exception):
    """A process did not deliver; the message is the last line it said."""


# -- measuring -------------------------------------------------------------------------------


class Runner:
    """Starts the processes of one measurement after the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        cores = sorted(os.sched_getaffinity(0))
        self.loop_core, self.client_core = cores[0], cores[-1]

    def measure(self, scenario: str, factory: str) -> dict[str, float]:
        """Operations and CPU seconds. Raises MeasurementError."""
        if scenario in ECHOES:
            return self._measure_echo(ECHOES[scenario], factory)
        args = ["loop_scenarios.py", scenario, factory, self.seconds]
        with child(args, self.loop_core) as (process, errors):
            return self._result_of(process, errors)

    def _measure_echo(self, echo: Echo, factory: str) -> dict[str, float]:
        with socket.create_server(("127.0.0.1", 0), backlog=echo.connections) as listener:
            port, fd = listener.getsockname()[1], listener.fileno()
            args = ["echo_server.py", echo.server, factory, self.seconds, fd]
            # Only the server has the socket from here on: if it dies, its clients notice.
            with child(args, self.loop_core, fd) as (server, server_errors):
                listener.close()
                return self._load(echo, port, server, server_errors)

    def _load(
        self, echo: Echo, port: int, server: subprocess.Popen[str], server_errors: IO[str]
    ) -> dict[str, float]:
        args = ["load.py", port, server.pid, echo.connections, echo.size, echo.lines, self.seconds]
        with child(args, self.client_core) as (clients, errors):
            try:
                return self._result_of(clients, errors)
            except MeasurementError:
                if server.poll() is None:
                    raise
                raise MeasurementError(last_line(server_errors)) from None

    def _result_of(self, process: subprocess.Popen[str], errors: IO[str]) -> dict[str, float]:
        try:
            answer, _ = process.communicate(timeout=self.seconds + WARM_UP + GRACE - 2)
        except subprocess.TimeoutExpired:
            raise MeasurementError("took too long") from None
        if process.returncode:
            raise MeasurementError(last_line(errors) or f"exit code {process.returncode}")
        result: dict[str, float] = json.loads(answer)
        if not result["operations"]:
            raise MeasurementError("not one operation was done")
        return result


@contextmanager
def child(
    args: list[object], core: int, *fds: int
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A process of this folder, on one core, and what it writes to stderr; killed in the end."""
    script, *rest = map(str, args)
    command = [sys.executable, str(HERE / script), *rest]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, pass_fds=fds, text=True
        )
        try:
            os.sched_setaffinity(process.pid, {core})
            yield process, errors
        finally:
            process.kill()
            process.communicate()


def last_line(file: IO[str]) -> str:
    """The end of a traceback says most."""
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1].strip() if lines else ""


def run(
    scenarios: list[str], loops: dict[str, str], rounds: int, seconds: float
) -> Iterator[Result]:
    """All measurements, as they come."""
    runner = Runner(seconds)
    names = list(loops)
    for turn in range(rounds):
        for at, scenario in enumerate(scenarios):
            shift = (turn + at) % len(names)
            for loop in names[shift:] + names[:shift]:
                yield measure_one(runner, turn, scenario, loop, loops[loop])


def measure_one(runner: Runner, turn: int, scenario: str, loop: str, factory: str) -> Result:
    """One measurement, which may fail without disturbing the others."""
    try:
        got = runner.measure(scenario, factory)
    except (MeasurementError, OSError, ValueError) as error:
        return Result(turn, scenario, loop, error=str(error))
    us = got["cpu"] / got["operations"] * 1e6
    return Result(turn, scenario, loop, us=us, operations=int(got["operations"]))


# -- tables ----------------------------------------------------------------------------------


class Table:
    """The results in rows of text: a scenario each."""

    def __init__(self, results: list[Result], loops: list[str]) -> None:
        self.results, self.loops = results, loops
        self.bases = [base for base in BASES if base in loops and OURS in loops]

    def rows(self) -> list[list[str]]:
        """The heading and a row for each scenario."""
        ratios = [f"{OURS} × {base}" for base in self.bases]
        scenarios = list(dict.fromkeys(result.scenario for result in self.results))
        return [["CPU µs", *self.loops, *ratios], *map(self._row, scenarios)]

    def _row(self, scenario: str) -> list[str]:
        cells = [self._cell(scenario, loop) for loop in self.loops]
        return [scenario, *cells, *(self._ratio(scenario, base) for base in self.bases)]

    def _of(self, scenario: str, loop: str) -> dict[int, float]:
        """Microseconds by round."""
        return {
            result.round: result.us
            for result in self.results
            if (result.scenario, result.loop) == (scenario, loop) and result.us is not None
        }

    def _cell(self, scenario: str, loop: str) -> str:
        figures = self._of(scenario, loop)
        return f"{median(figures.values()):.3g}" if figures else "failed"

    def _ratio(self, scenario: str, base: str) -> str:
        ours, theirs = self._of(scenario, OURS), self._of(scenario, base)
        ratios = [theirs[turn] / us for turn, us in ours.items() if turn in theirs and us]
        return f"{median(ratios):.2f}" if ratios else "–"

    def text(self) -> str:
        """Columns for the terminal."""
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for first, *rest in rows:
            cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
            lines.append("  ".join([first.ljust(widths[0]), *cells]))
        return "\n".join(lines)

    def markdown(self) -> str:
        """A table for a document."""
        head, *rows = self.rows()
        rule = ["---", *("---:" for _ in head[1:])]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))

    def failures(self) -> list[str]:
        """What went wrong, once each."""
        failed = (result for result in self.results if result.error is not None)
        return list(dict.fromkeys(f"{one.scenario} on {one.loop}: {one.error}" for one in failed))


def median(values: object) -> float:
    """The middle value, or the mean of the two in the middle."""
    ordered = sorted(values)  # type: ignore[call-overload]
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(low + high) / 2


def circumstances(loops: list[str], rounds: int, seconds: float) -> dict[str, str]:
    """What figures mean nothing without."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    machine = model[1] if model else platform.machine()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{machine}, {os.cpu_count()} cores, Linux {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "loops": ", ".join(f"{loop} {version(loop)}" for loop in loops if loop != "asyncio"),
        "method": f"{rounds} rounds of {seconds:.2f} s",
    }


def version(loop: str) -> str:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(loop)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


# -- the command -----------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=f"scenarios: {', '.join(NAMES)}"
    )
    parser.add_argument("--only", metavar="RE", default="", help="scenarios with a match in them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="per measurement; default: 2 minutes in all")
    parser.add_argument("--loops", help="comma list of NAME or NAME=MODULE:FACTORY")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement")
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    parser.add_argument("--install", action="store_true", help=f"install {', '.join(PEERS)} here")
    return parser.parse_args()


def choose_loops(given: str | None) -> dict[str, str]:
    """Names and factories: the given ones, or those that are installed."""
    if given is None:
        installed = (name for name in (OURS, *PEERS) if importlib.util.find_spec(name))
        given = ",".join(["asyncio", *installed])
    pairs = (entry.partition("=") for entry in given.split(","))
    return {name: factory or f"{name}:new_event_loop" for name, _, factory in pairs}


def install_peers() -> None:
    """Install the other loops one by one: not all are there for every Python."""
    for peer in PEERS:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", peer]
        if subprocess.run(pip, check=False).returncode:
            print(f"{peer} cannot be installed: going on without", file=sys.stderr)


def affordable_seconds(measurements: int) -> float:
    """How long each of so many may take."""
    return min(1.0, max(0.1, BUDGET / measurements - OVERHEAD))


def collect(results: Iterator[Result], total: int) -> list[Result]:
    """Take all results, saying how far we are if somebody watches."""
    collected: list[Result] = []
    for result in results:
        collected.append(result)
        if sys.stderr.isatty():
            text = f"{len(collected)}/{total} {result.scenario} {result.loop}"
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return collected


def report(table: Table, about: dict[str, str], markdown: bool) -> None:
    print(f"{'; '.join(about.values())}\n")
    print(table.markdown() if markdown else table.text())
    print("\nCPU time of the loop's process per operation; × is how much less oxloop needs.")
    for failure in table.failures():
        print(f"failed: {failure}")


def terminate(*_: object) -> NoReturn:
    """Leave by an exception, so that the children are killed."""
    sys.exit(128 + signal.SIGTERM)


def main() -> None:
    args = parse()
    signal.signal(signal.SIGTERM, terminate)
    if args.install:
        install_peers()
    loops = choose_loops(args.loops)
    scenarios = [name for name in NAMES if re.search(args.only, name)]
    total = args.rounds * len(scenarios) * len(loops)
    if not total:
        sys.exit(f"nothing to do; there are: {', '.join(NAMES)}")
    seconds = args.seconds or affordable_seconds(total)
    start = time.monotonic()
    results = collect(run(scenarios, loops, args.rounds, seconds), total)
    about = circumstances(list(loops), args.rounds, seconds)
    about["took"] = f"{time.monotonic() - start:.0f} s in all"
    report(Table(results, list(loops)), about, args.markdown)
    if args.json:
        measured = [asdict(result) for result in results]
        args.json.write_text(json.dumps({"about": about, "results": measured}, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
