"""Count user instructions per operation on the hot paths; compare with those in counts.toml.

    count.py [--update] [--functions NAME]

`make bench-count` runs it. hot_paths.py has the paths, callgrind counts. What is compared is what
oxloop's own object executes (`_oxloop`, without what it calls): that is the same on every machine
and in every run, for the same compiler and the same minor version of CPython. What the process as a
whole executes depends on how its Python was built, and is shown only.
"""

import argparse
import collections
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hot_paths import HOT_PATHS

import oxloop._oxloop

HERE = Path(__file__).resolve().parent
KEPT = HERE / "counts.toml"
#: The growth of a count that fails.
TOLERANCE = 0.03
OURS = Path(oxloop._oxloop.__file__).resolve()

Functions = dict[tuple[str, str], float]
"""Instructions per operation by object and function."""

HEAD = """\
# Instructions of oxloop's own code per operation, as `make bench-count` compares them.
# `make bench-count UPDATE=1` writes this file; a commit that does so says why.
"""


class Count(NamedTuple):
    """Instructions per operation: of oxloop's object, and of the process."""

    ours: float
    process: float


class Kept(NamedTuple):
    """What counts.toml holds."""

    about: dict[str, str]
    instructions: dict[str, float]


def compare(kept: dict[str, float], now: dict[str, float]) -> tuple[list[str], list[str]]:
    """What is wrong with the counts, and what is worth a word."""
    wrong, notes = [], []
    for name in sorted(kept.keys() | now.keys()):
        if name not in now:
            wrong.append(f"{name}: is kept, but was not counted")
        elif name not in kept:
            wrong.append(f"{name}: no count is kept to compare it with")
        elif now[name] > kept[name] * (1 + TOLERANCE):
            wrong.append(f"{name}: {change(kept[name], now[name])}, allowed are {TOLERANCE:.0%}")
        elif now[name] < kept[name] * (1 - TOLERANCE):
            notes.append(f"{name}: {change(kept[name], now[name])}. Keep that by UPDATE=1")
    return wrong, notes


def change(kept: float, now: float) -> str:
    return f"{(now / kept - 1) * 100:+.1f} %"


def circumstances() -> dict[str, str]:
    """What the counts depend on besides the sources. The object says what compiled it."""
    compiler = re.search(rb"rustc version (\S+)", OURS.read_bytes())
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "rustc": compiler[1].decode() if compiler else "unknown",
        "machine": platform.machine(),
    }


def count(names: list[str]) -> dict[str, tuple[Count, Functions]]:
    """Run the paths under callgrind. Exits if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["valgrind", "-q", "--tool=callgrind", "--dump-before=sched_yield"]
        command += [f"--callgrind-out-file={out}", sys.executable, str(HERE / "hot_paths.py")]
        # With an OpenSSL that cannot be called directly, TLS is another path.
        env = {**os.environ, "PYTHONHASHSEED": "0", "OXLOOP_TLS": "direct"}
        said = subprocess.run([*command, *names], env=env, stderr=subprocess.PIPE, text=True)
        if said.returncode:
            sys.exit(f"{said.stderr}nothing was counted: exit status {said.returncode}")
        # Parts begin at 1: what came before a path, the path, and so on.
        parts = (Path(f"{out}.{2 * at + 2}").read_text() for at in range(len(names)))
        return {name: per_operation(name, part) for name, part in zip(names, parts, strict=True)}


def per_operation(name: str, part: str) -> tuple[Count, Functions]:
    operations = HOT_PATHS[name].operations
    costs = self_costs(part.splitlines())
    functions = {function: cost / operations for function, cost in costs.items()}
    ours = sum(cost for (path, _), cost in functions.items() if Path(path) == OURS)
    return Count(ours, sum(functions.values())), functions


def self_costs(part: Iterable[str]) -> dict[tuple[str, str], int]:
    """The instructions of each function, by object and name, without those it calls."""
    names: dict[str, str] = {}
    costs: collections.Counter[tuple[str, str]] = collections.Counter()
    current = {"ob": "", "fn": ""}
    of_callee = False
    for line in part:
        if place := re.match(r"(c?)(ob|fn)=(\(\d+\))(?: (.*))?", line):
            callee, kind, number, name = place.groups()
            # Names are written once, and referred to by number from then on.
            if name:
                names[kind + number] = name
            if not callee:
                current[kind] = names[kind + number]
        elif line.startswith("calls="):
            of_callee = True
        elif line[:1] in tuple("+-*0123456789"):
            if not of_callee:
                costs[current["ob"], current["fn"]] += int(line.split()[1])
            of_callee = False
    return costs


def table(counts: dict[str, Count], kept: dict[str, float]) -> str:
    head = f"{'instructions per operation':40}{'kept':>10}{'now':>10}{'change':>10}{'process':>10}"
    lines = [head]
    for name, (ours, process) in counts.items():
        before = kept.get(name)
        cells = f"{before:10.1f}" if before else f"{'–':>10}"
        cells += f"{ours:10.1f}" + f"{change(before, ours) if before else '–':>10}"
        lines.append(f"{HOT_PATHS[name].title:40}{cells}{process:10.0f}")
    return "\n".join(lines)


def most_costly(functions: Functions, most: int = 40) -> str:
    ranking = sorted(functions.items(), key=lambda item: -item[1])[:most]
    return "\n".join(f"{cost:10.1f}  {Path(ob).name:32.32}  {fn}" for (ob, fn), cost in ranking)


def read() -> Kept:
    content = tomllib.loads(KEPT.read_text()) if KEPT.exists() else {}
    return Kept(content.get("about", {}), content.get("instructions", {}))


def write(kept: Kept) -> None:
    lines = [HEAD, "[about]", *(f'{name} = "{fact}"' for name, fact in kept.about.items())]
    lines += ["", "[instructions]"]
    lines += [f"{name} = {number:.1f}" for name, number in kept.instructions.items()]
    KEPT.write_text("\n".join(lines) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--update", action="store_true", help="keep what is counted now")
    parser.add_argument(
        "--functions", metavar="NAME", choices=HOT_PATHS, help="where one path's instructions go"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    if not shutil.which("valgrind"):
        sys.exit("nothing was counted: there is no valgrind on PATH (Debian, Ubuntu: valgrind)")
    if args.functions:
        _, functions = count([args.functions])[args.functions]
        print(most_costly(functions))
        return
    kept, about = read(), circumstances()
    counts = {name: count for name, (count, _) in count(list(HOT_PATHS)).items()}
    ours = {name: count.ours for name, count in counts.items()}
    print(table(counts, kept.instructions))
    if args.update:
        write(Kept(about, ours))
        print(f"\nkept in {KEPT.relative_to(HERE.parent)}")
        return
    sys.exit(judge(kept, Kept(about, ours)))


def judge(kept: Kept, now: Kept) -> str | None:
    """Prints what is worth a word; returns what is wrong, if anything is."""
    if kept.about != now.about:
        return (
            f"\nnothing was compared: counted with {in_words(now.about)}, "
            f"kept are counts with {in_words(kept.about)}. "
            "To see what a change does, run with UPDATE=1 before it, and without after it."
        )
    wrong, notes = compare(kept.instructions, now.instructions)
    for note in notes:
        print(note)
    return "\n".join(["", *wrong]) if wrong else None


def in_words(about: dict[str, str]) -> str:
    return ", ".join(f"{name} {fact}" for name, fact in about.items()) or "nothing known"


if __name__ == "__main__":
    main()
