"""Measure what Rust on the Python loop saves: processor time per operation.

Two comparisons, in which the contestants take turns round by round. A service whose HTTP protocol
is in Rust against the same in Python, under wrk; and awaiting a Rust future on the loop against one
on tokio in another thread (pyo3-async-runtimes). Build both modules first::

    make extensions EXTENSIONS_PROFILE=release
    cargo build --release --manifest-path bench/extension/Cargo.toml
    OXLOOP_EXTENSIONS=target/extensions .venv/bin/python bench/extension/run.py

Needs wrk, and uvloop and httptools in the environment.
"""

import argparse
import asyncio
import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
OXLOOP, UVLOOP = "oxloop:new_event_loop", "uvloop:new_event_loop"
SERVICES = {
    "Rust on oxloop": ("rust", OXLOOP),
    "Python on oxloop": ("python", OXLOOP),
    "Python on uvloop": ("python", UVLOOP),
}
AWAITS = {
    "spawn on oxloop": ("spawn", OXLOOP),
    "defer on oxloop": ("defer", OXLOOP),
    "tokio beside oxloop": ("bridge", OXLOOP),
    "tokio beside uvloop": ("bridge", UVLOOP),
}
PATHS = ("/", "/users/ada")
#: Connections, and requests in flight on each.
LOADS = ((1, 1), (64, 1), (64, 16))
PIPELINE = """
init = function(args)
   local requests = {}
   for number = 1, tonumber(args[1]) do requests[number] = wrk.format() end
   pipeline = table.concat(requests)
end
request = function() return pipeline end
"""

Figures = dict[str, list[float]]
T = TypeVar("T")


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve_one(kind: str, loop: str, path: str, flights: tuple[int, int], seconds: float) -> float:
    """Microseconds of the server's processor time per request."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        os.set_inheritable(listener.fileno(), True)
        command = [sys.executable, HERE / "servers.py", kind, loop, str(listener.fileno())]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
            load(url, flights, 1)
            before = cpu_of(server.pid)
            requests = load(url, flights, seconds)
            return (cpu_of(server.pid) - before) / requests * 1e6
        finally:
            server.kill()
            server.wait()


def load(url: str, flights: tuple[int, int], seconds: float) -> int:
    """How many requests wrk had answered."""
    connections, depth = flights
    with TemporaryDirectory() as folder:
        script = Path(folder, "pipeline.lua")
        script.write_text(PIPELINE)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["-s", str(script), url, "--", str(depth)]
        output = subprocess.check_output(command, text=True)
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(output)
    found = re.search(r"(\d+) requests in", output)
    return int(found[1]) if found else sys.exit(output)


async def await_many(make: Callable[[bool], Awaitable[int]], waits: bool, count: int) -> None:
    for _ in range(count):
        await make(waits)


def await_here(kind: str, loop_factory: str, waits: bool, count: int) -> None:
    """Print the microseconds of processor time, and of time, of one await."""
    extension = importlib.import_module("bench_extension")
    extension.workers(1)
    module, _, name = loop_factory.partition(":")
    loop: asyncio.AbstractEventLoop = getattr(importlib.import_module(module), name)()
    make = getattr(extension, kind)
    loop.run_until_complete(await_many(make, waits, max(100, count // 10)))
    start, cpu = time.perf_counter(), time.process_time()
    loop.run_until_complete(await_many(make, waits, count))
    elapsed, used = time.perf_counter() - start, time.process_time() - cpu
    print(used / count * 1e6, elapsed / count * 1e6)


def await_one(kind: str, loop: str, waits: bool) -> tuple[float, float]:
    """The same, of a process of its own."""
    count = 5_000 if kind == "bridge" else 200_000
    command = [sys.executable, __file__, "--await", kind, loop, str(int(waits)), str(count)]
    used, elapsed = map(float, subprocess.check_output(command, text=True).split())
    return used, elapsed


def turns(rounds: int, contestants: dict[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each contestant has in each round; another one begins every time."""
    names = list(contestants)
    found: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(rounds):
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            found[name].append(contestants[name]())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="length of a round under wrk")
    parser.add_argument("--only", choices=("http", "await"))
    parser.add_argument("--await", dest="child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path.insert(0, os.environ.get("OXLOOP_BENCH_MODULE", str(HERE)))
    if args.child:
        kind, loop, waits, count = args.child
        return await_here(kind, loop, waits == "1", int(count))
    if args.only != "await":
        compare_services(args.rounds, args.seconds)
    if args.only != "http":
        compare_awaits(args.rounds)


def compare_services(rounds: int, seconds: float) -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [os.environ["OXLOOP_EXTENSIONS"], os.environ.get("PYTHONPATH", "")]
    )
    if shutil.which("wrk") is None:
        sys.exit("there is no wrk")
    for path in PATHS:
        for flights in LOADS:
            services = {
                name: partial(serve_one, kind, loop, path, flights, seconds)
                for name, (kind, loop) in SERVICES.items()
            }
            found = turns(rounds, services)
            what = f"GET {path}, {flights[0]} connections, {flights[1]} requests in flight on each"
            show(what, "CPU µs a request", found)


def compare_awaits(rounds: int) -> None:
    library = TARGET / "release" / "libbench_extension.so"
    with TemporaryDirectory() as folder:
        shutil.copy(library, Path(folder, "bench_extension.so"))
        os.environ["OXLOOP_BENCH_MODULE"] = folder
        for waits in (False, True):
            awaits = {
                name: partial(await_one, kind, loop, waits) for name, (kind, loop) in AWAITS.items()
            }
            found = turns(rounds, awaits)
            what = "a future that waits once" if waits else "a future that is ready"
            show(
                what, "CPU µs an await", {name: [a for a, _ in all] for name, all in found.items()}
            )
            show(what, "µs an await", {name: [b for _, b in all] for name, all in found.items()})


def show(title: str, unit: str, found: Figures) -> None:
    """Medians, and how many times the first contestant's the others are, round by round."""
    first = next(iter(found.values()))
    print(f"{title}: {unit}")
    for name, figures in found.items():
        times = median(figure / ours for figure, ours in zip(figures, first, strict=True))
        rounds = " ".join(f"{figure:.2f}" for figure in figures)
        print(f"  {name:20} {median(figures):8.2f}  ×{times:.2f}  ({rounds})", flush=True)


if __name__ == "__main__":
    main()
