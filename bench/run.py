"""Measure oxloop against other event loops: CPU time per operation. `make bench` runs it.

Every measurement is a fresh process, or two for echo servers: the server and its clients. The loops
take turns within a round and the order rotates, and ratios are medians over the rounds of the ratio
within a round, so drift of the machine cancels out. What counts is the CPU time of the process that
runs the loop, which other work on the machine disturbs least; clients get another core if there is.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, create_server, socket
from statistics import median
from tempfile import TemporaryFile
from typing import Any

import network
from child import GRACE
from loop_scenarios import CREATE_LOOP, SCENARIOS

HERE = Path(__file__).resolve().parent
OURS = "oxloop"
BASES = ("asyncio", "uvloop")
PEERS = ("uvloop", "zuvloop", "rloop")
#: What a default run may take in seconds, and what a measurement takes beyond what it measures.
BUDGET, OVERHEAD = 100, 0.35
NAMES = [*SCENARIOS, CREATE_LOOP, *network.SCENARIOS]

Figures = dict[str, dict[str, list[float | None]]]
"""Microseconds per operation by scenario, loop and round; None where a loop failed."""


class MeasurementError(Exception):
    """A process did not deliver; the message is the last line it said."""


class Child:
    """A Python process of this folder, on one core; killed in the end."""

    def __init__(self, core: int, script: str, *args: object, fds: tuple[int, ...] = ()) -> None:
        self.errors = TemporaryFile("a+", errors="replace")  # noqa: SIM115
        command = [sys.executable, str(HERE / script), *map(str, args)]
        out, err = subprocess.PIPE, self.errors
        self.process = subprocess.Popen(command, stdout=out, stderr=err, pass_fds=fds, text=True)
        with suppress(ProcessLookupError):
            os.sched_setaffinity(self.process.pid, {core})

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def microseconds(self, timeout: float) -> float:
        """What it has measured. Raises MeasurementError."""
        try:
            answer, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise MeasurementError("took too long") from None
        if self.process.returncode:
            raise MeasurementError(self.last_words() or "it died without a word")
        result = json.loads(answer)
        if not result["operations"]:
            raise MeasurementError("not one operation was done")
        return float(result["cpu"] / result["operations"] * 1e6)

    def last_words(self) -> str:
        """The end of a traceback, which says most; empty if nothing went wrong."""
        self.errors.seek(0)
        return self.errors.read().strip().rpartition("\n")[2]


def measure(name: str, factory: str, seconds: float) -> float:
    """CPU microseconds per operation. Raises MeasurementError."""
    cores = sorted(os.sched_getaffinity(0))
    if name in network.SCENARIOS:
        return measure_server(name, factory, seconds, (cores[0], cores[-1]))
    with Child(cores[0], "loop_scenarios.py", name, factory, seconds) as child:
        return child.microseconds(seconds + GRACE)


def measure_server(name: str, factory: str, seconds: float, cores: tuple[int, int]) -> float:
    """Likewise, of a server under load."""
    scenario = network.SCENARIOS[name]
    with open_socket(scenario) as sock:
        port, fd = sock.getsockname()[1], sock.fileno()
        arguments = (scenario.server, factory, seconds, fd)
        server = Child(cores[0], "echo_server.py", *arguments, fds=(fd,))
    # Now only the server has the socket: if it dies, its clients notice.
    with server:
        load = (port, server.process.pid, name, seconds)
        with Child(cores[1], "load.py", *load) as clients:
            try:
                return clients.microseconds(seconds + GRACE)
            except MeasurementError as error:
                words = server.last_words()
                raise MeasurementError(f"{error}; server: {words}" if words else error) from None


def open_socket(scenario: network.Scenario) -> socket:
    """The server's, so that clients can come before its loop is there."""
    if scenario.talk == "udp":
        sock = socket(AF_INET, SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        return sock
    return create_server(("127.0.0.1", 0), backlog=scenario.connections)


def measure_all(
    names: list[str], loops: dict[str, str], rounds: int, seconds: float
) -> tuple[Figures, dict[str, str]]:
    """The figures, and what failed and why. Says how far it is if somebody watches."""
    figures: Figures = {name: {loop: [] for loop in loops} for name in names}
    failures: dict[str, str] = {}
    for turn in range(rounds):
        for at, name in enumerate(names):
            shift = (turn + at) % len(loops)
            for loop in (list(loops) * 2)[shift : shift + len(loops)]:
                progress(f"round {turn + 1}/{rounds} {name} {loop}")
                try:
                    figure = measure(name, loops[loop], seconds)
                except (MeasurementError, OSError, ValueError) as error:
                    figure = None
                    failures.setdefault(f"{name} on {loop}", str(error))
                figures[name][loop].append(figure)
    progress("")
    return figures, failures


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def rows(figures: Figures, loops: list[str]) -> list[list[str]]:
    """The table's heading and a row for each scenario."""
    bases = [base for base in BASES if base in loops and OURS in loops]
    table = [["CPU µs per operation", *loops, *(f"{base} ÷ {OURS}" for base in bases)]]
    for name, by_loop in figures.items():
        ratios = (ratio(by_loop[base], by_loop[OURS]) for base in bases)
        table.append([name, *map(cell, by_loop.values()), *ratios])
    return table


def cell(by_round: list[float | None]) -> str:
    known = [figure for figure in by_round if figure is not None]
    failed = len(by_round) - len(known)
    if not known:
        return "failed"
    return f"{median(known):.3g}" + (f" ({failed} failed)" if failed else "")


def ratio(base: list[float | None], ours: list[float | None]) -> str:
    """How many times less ours needs: the median of the ratio in each round."""
    pairs = zip(base, ours, strict=True)
    known = [theirs / mine for theirs, mine in pairs if theirs and mine]
    return f"{median(known):.2f}" if known else "–"


def render(table: list[list[str]], markdown: bool) -> str:
    """Aligned columns, in Markdown or bare."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if markdown:
        table.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    left, gap, right = ("| ", " | ", " |") if markdown else ("", "  ", "")
    lines = []
    for first, *rest in table:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append(left + gap.join([first.ljust(widths[0]), *cells]) + right)
    return "\n".join(lines)


def circumstances(loops: list[str]) -> dict[str, str]:
    """What figures mean nothing without."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "system": f"Linux {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{loop: version(loop) for loop in loops if loop != "asyncio"},
    }


def version(loop: str) -> str:
    try:
        return importlib.metadata.version(loop)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.epilog = f"scenarios: {', '.join(NAMES)}"
    parser.add_argument("--only", metavar="RE", default="", help="scenarios that match")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="each; default: not 2 minutes in all")
    parser.add_argument("--loops", help="comma list of NAME or NAME=MODULE:FACTORY")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    parser.add_argument("--install", action="store_true", help="install the other loops first")
    return parser.parse_args()


def choose_loops(given: str | None) -> dict[str, str]:
    """Names and factories: of the given loops, or of all that are installed."""
    if given is None:
        installed = (name for name in (*PEERS, OURS) if importlib.util.find_spec(name))
        given = ",".join(["asyncio", *installed])
    pairs = (entry.partition("=") for entry in given.split(","))
    return {name: factory or f"{name}:new_event_loop" for name, _, factory in pairs}


def install_peers() -> None:
    """Install the other loops one by one: not all are there for every Python."""
    for peer in PEERS:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", peer]
        if subprocess.run(pip, check=False).returncode:
            print(f"{peer} cannot be installed: going on without", file=sys.stderr)


def main() -> None:
    args = parse()
    # As Ctrl-C: leave by an exception, so that the children are killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if args.install:
        install_peers()
    loops = choose_loops(args.loops)
    names = [name for name in NAMES if re.search(args.only, name)]
    total = args.rounds * len(names) * len(loops)
    if total <= 0:
        sys.exit(f"nothing to do; there are: {', '.join(NAMES)}")
    seconds = args.seconds or min(1.0, max(0.1, BUDGET / total - OVERHEAD))
    start, load = time.monotonic(), os.getloadavg()[0]
    figures, failures = measure_all(names, loops, args.rounds, seconds)
    took = f"{args.rounds} rounds of {seconds:.2f} s, {time.monotonic() - start:.0f} s in all"
    # One, of the measurement itself, is what a quiet machine has at the end.
    busy = f"{load:.1f} before, {os.getloadavg()[0]:.1f} after"
    about = circumstances(list(loops)) | {"measured": took, "load": busy}
    facts = "; ".join(f"{name}: {fact}" for name, fact in about.items())
    print(render(rows(figures, list(loops)), args.markdown), facts, sep="\n\n")
    for what, why in failures.items():
        print(f"failed: {what}: {why}")
    if args.json:
        content: dict[str, Any] = {"about": about, "failures": failures, "microseconds": figures}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
