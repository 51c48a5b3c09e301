"""What every load generator shares: its command line, the two clocks and the report it prints.

A load generator is a process of its own, so that its work does not count as the server's. It prints
one line of JSON on success and ends with status 1 and a message as soon as an answer is wrong.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Protocol

HOST = "127.0.0.1"
PATIENCE = 5.0  # seconds of silence after which the server counts as stuck
WARM_UP = 0.2  # seconds of load before the clocks start


class Mismatch(Exception):
    """The server did not answer what it should have."""


@dataclass
class Reading:
    """One measured round."""

    loop: str  # the module of the loop's class, as the server itself says
    requests: int
    seconds: float
    cpu: float  # seconds of processor time of the server

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of processor time for one request."""
        return self.cpu / self.requests * 1e6


class Load(Protocol):
    """Clients connected to a server. `loop` names what it runs on."""

    loop: str

    def run(self, seconds: float) -> int:
        """Keep the server busy, wait for the last answer, return the number of answers."""

    def finish(self) -> None:
        """Check what is left to check and hang up."""


def process_clock(pid: int) -> float:
    """Processor time of all threads of a process, in seconds (Linux numbers such clocks so)."""
    return time.clock_gettime((~pid << 3) | 2)


def measure(load: Load, pid: int, seconds: float) -> Reading:
    load.run(WARM_UP)
    wall, cpu = time.perf_counter(), process_clock(pid)
    requests = load.run(seconds)
    wall, cpu = time.perf_counter() - wall, process_clock(pid) - cpu
    load.finish()
    return Reading(load.loop, requests, wall, cpu)


def main(connect: Callable[[int], Load]) -> None:
    """The load generators' command line; `connect` takes the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="process whose clock is read")
    parser.add_argument("--seconds", type=float, default=1.5)
    args = parser.parse_args()
    try:
        reading = measure(connect(args.port), args.pid, args.seconds)
    except (Mismatch, OSError, HTTPException) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(asdict(reading)))
