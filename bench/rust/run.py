"""Compare the crate oxloop with tokio's current_thread runtime: processor time per operation.

Build first: `cargo build --release` in this folder. Both take turns in every round; the medians of
the rounds are printed, with the ratio of the neighbours' median.
"""

import argparse
import os
import statistics
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
LOCAL = ["spawn", "spawn-each", "yield", "yield-100", "wake", "timer", "sleep", "thread"]
ECHO = [(connections, size) for size in (64, 16384) for connections in (1, 64, 512)]


def measure(program: Path, *arguments: str) -> list[list[float]]:
    lines = subprocess.check_output([program, *arguments], text=True).splitlines()
    return [[float(figure) for figure in line.split()] for line in lines]


def rows(program: Path, rounds: int, chosen: str):
    """Each row with the figures of its contestants, round by round; tokio's are the last."""
    for scenario in LOCAL:
        if chosen in scenario:
            contestants = [("oxloop", scenario), ("tokio", scenario)]
            yield scenario, "ns", run(program, rounds, contestants)
    for connections, size in ECHO:
        name = f"echo, {connections} × {size} B"
        if chosen in name:
            # Short ones, in one process.
            figures = measure(program, "echo", str(connections), str(size), str(5 * rounds))
            yield name, "µs", figures


def run(program: Path, rounds: int, contestants: list[tuple[str, ...]]) -> list[list[float]]:
    figures = []
    for turn in range(rounds):
        # Another one begins in every round.
        order = [(turn + offset) % len(contestants) for offset in range(len(contestants))]
        measured = {index: measure(program, *contestants[index])[0][0] for index in order}
        figures.append([measured[index] for index in range(len(contestants))])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    program = TARGET / "release" / "oxloop-bench"
    print("| | oxloop, protocol | oxloop, task | tokio | tokio ÷ protocol | tokio ÷ task |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, unit, figures in rows(program, arguments.rounds, arguments.only):
        medians = [statistics.median(column) for column in zip(*figures, strict=True)]
        ratios = [
            statistics.median(figure[-1] / figure[column] for figure in figures)
            for column in range(len(medians) - 1)
        ]
        cells = [f"{median:.3g} {unit}" for median in medians]
        cells += [f"{ratio:.2f}" for ratio in ratios]
        if len(medians) == 2:
            cells.insert(0, "")
            cells.insert(3, "")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
