"""Run the example programs on two event loops, side by side, under the same load.

Each program is started once for each loop, unchanged: `python -m oxloop PROGRAM` and `python
PROGRAM`. Then the loops take turns in short rounds, so that a noisy moment of the machine hits them
alike; the ratios compare neighbouring rounds. Every answer is checked; a wrong one, a complaint on
stderr or an untidy end of a server makes the exit status 1.

    python examples/side_by_side.py
    python examples/side_by_side.py --only chat --rounds 2 --seconds 1
    python examples/side_by_side.py --loops asyncio,asyncio    # how noisy is this machine?
"""

import argparse
import contextlib
import signal
import sys

from load.meter import Reading
from load.processes import LOOPS, PROGRAMS, Failure, Program, Server, run_load
from load.report import Progress, comparison, machine, row, table

Results = list[list[Reading]]  # for each loop, in the order of the command line, its rounds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the example programs on two event loops.")
    names = [program.name for program in PROGRAMS]
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a round")
    parser.add_argument("--rounds", type=int, default=4, help="rounds for each program and loop")
    parser.add_argument("--only", choices=names, help="this program alone")
    parser.add_argument(
        "--loops",
        type=parse_loops,
        default="oxloop,asyncio",
        metavar="NAME,...",
        help=f"of {' and '.join(LOOPS)}; the last is what the others are compared with",
    )
    args = parser.parse_args()
    if args.seconds <= 0 or args.rounds < 1:
        parser.error("there must be at least one round, and it must take some time")
    return args


def parse_loops(text: str) -> list[str]:
    loops = text.split(",")
    for loop in loops:
        if loop not in LOOPS:
            raise argparse.ArgumentTypeError(f"{loop!r} is not one of {', '.join(LOOPS)}")
    return loops


def run_program(program: Program, args: argparse.Namespace, progress: Progress) -> Results:
    """All rounds of one program, the loops taking turns."""
    results: Results = [[] for _ in args.loops]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(program, loop)) for loop in args.loops]
        for number in range(1, args.rounds + 1):
            for server, readings in zip(servers, results, strict=True):
                progress.begin(f"{program.name} on {server.loop}, round {number}/{args.rounds}")
                reading = run_load(server, args.seconds, progress.tick)
                progress.end(reading)
                readings.append(reading)
    return results


def print_report(loops: list[str], results: dict[str, Results]) -> None:
    rows = []
    ratios = []
    for program, outcome in results.items():
        rows += [row(program, loop, rounds) for loop, rounds in zip(loops, outcome, strict=True)]
        for loop, readings in zip(loops[:-1], outcome, strict=False):
            pairs = list(zip(readings, outcome[-1], strict=True))
            ratios.append(comparison(program, loop, loops[-1], pairs))
    print()
    print(table(rows))
    print()
    print("\n".join([*ratios, "A chat request is one line delivered to one member."]))
    print(f"Medians of the rounds; every answer was checked. {machine()}.")


def run(args: argparse.Namespace) -> None:
    programs = [program for program in PROGRAMS if args.only in (None, program.name)]
    progress = Progress(len(programs) * len(args.loops) * args.rounds, args.seconds)
    with contextlib.closing(progress):
        results = {program.name: run_program(program, args, progress) for program in programs}
    print_report(args.loops, results)


def main() -> int:
    args = parse_args()
    sys.stdout.reconfigure(errors="replace")  # a terminal without the bar's characters
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        run(args)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
