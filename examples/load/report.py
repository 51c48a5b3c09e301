"""What the user sees: a progress bar while the rounds run, a table at the end."""

import os
import platform
import sys
import time
from statistics import median

from load.meter import Reading

BAR_WIDTH = 30
CLEAR_LINE = "\r\x1b[2K"
HEADER = ("program", "loop", "loop class in", "requests/s", "CPU µs per request")


class Progress:
    """A bar that grows with time on a terminal, one line for each round anywhere else."""

    def __init__(self, rounds: int, seconds: float) -> None:
        self.rounds = rounds
        self.seconds = seconds
        self.done = 0
        self.label = ""
        self.began = 0.0
        self.tty = sys.stdout.isatty()

    def begin(self, label: str) -> None:
        self.label = label
        self.began = time.monotonic()
        self.tick()

    def tick(self) -> None:
        if not self.tty:
            return
        part = min((time.monotonic() - self.began) / self.seconds, 1)
        share = (self.done + part) / self.rounds
        full = int(share * BAR_WIDTH)
        bar = "█" * full + "░" * (BAR_WIDTH - full)
        self.write(f"{CLEAR_LINE}{bar} {share:4.0%}  {self.label}")

    def end(self, reading: Reading) -> None:
        self.done += 1
        if not self.tty:
            self.write(f"{self.label}: {reading.rate:,.0f} requests/s\n")

    def close(self) -> None:
        if self.tty:
            self.write(CLEAR_LINE)

    @staticmethod
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def row(program: str, loop: str, readings: list[Reading]) -> tuple[str, ...]:
    rate = median(reading.rate for reading in readings)
    cost = median(reading.cost for reading in readings)
    return program, loop, readings[0].loop, f"{rate:,.0f}", f"{cost:.1f}"


def table(rows: list[tuple[str, ...]]) -> str:
    """Words to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]
    lines = []
    for cells in [HEADER, tuple("─" * width for width in widths), *rows]:
        words = [cell.ljust(width) for cell, width in zip(cells[:3], widths, strict=False)]
        figures = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
        lines.append("  ".join(words + figures))
    return "\n".join(lines)


def comparison(program: str, loop: str, other: str, pairs: list[tuple[Reading, Reading]]) -> str:
    """One line: how `loop` did against `other`, round by round."""
    rate = median(mine.rate / theirs.rate for mine, theirs in pairs)
    cost = median(mine.cost / theirs.cost for mine, theirs in pairs)
    return (
        f"{program}: {loop} against {other}: {rate:.2f} × the requests/s,"
        f" {cost:.2f} × the CPU per request"
    )


def machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
