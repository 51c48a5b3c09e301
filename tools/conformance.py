"""Judge oxloop by CPython's own asyncio tests: nothing may fail that is not known to.

Runs `../shared/conformance/run.py` with the interpreter that has oxloop installed, then compares
its results with tests/conformance-known.toml. Crashes and hangs are never tolerated, a known
failure that passes is an entry to delete, a test that passed at its second try is mentioned.

    tools/conformance.py                          # the interpreter this runs on
    tools/conformance.py --python PATH -- -k sendfile -v       # more arguments for run.py
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT.parent / "shared" / "conformance"
KNOWN = ROOT / "tests" / "conformance-known.toml"
BAD = {"fail", "error"}
FATAL = {"crash", "hang"}
ASK_VERSION = """
import platform, sys, importlib.util as util
there = util.find_spec("test") and util.find_spec("test.test_asyncio")
print("%d.%d" % sys.version_info[:2], platform.python_version(), "yes" if there else "no")
"""


@dataclass(frozen=True)
class Known:
    """One entry of the list: a test that may fail, where, and why."""

    id: str
    why: str
    pythons: tuple[str, ...] = ()
    flaky: bool = False

    def applies(self, version: str) -> bool:
        return not self.pythons or version in self.pythons


@dataclass
class Verdict:
    """What the results mean: `problems` fail the gate, `notes` do not."""

    score: str
    problems: list[str]
    notes: list[str]


def load_known(path: Path) -> list[Known]:
    """The entries of the list; a misspelt or missing key is an error."""
    entries = tomllib.loads(path.read_text()).get("known", [])
    return [Known(**entry | {"pythons": tuple(entry.get("pythons", ()))}) for entry in entries]


def judge(results: dict, known: Iterable[Known], version: str, expected: set[str]) -> Verdict:
    """Compare what run.py wrote with what we know; `expected` are the ids that should run."""
    tests = results["tests"]
    allowed = {entry.id: entry for entry in known if entry.applies(version)}
    new = list(unknown_failures(tests, allowed))
    stale = list(stale_entries(tests, allowed, expected))
    problems = new + stale
    problems += [f"EXIT {module}: the process died after its tests" for module in results["exits"]]
    problems += silent_modules(tests, expected)
    return Verdict(score_line(results, allowed, new, stale), problems, notes(results))


def unknown_failures(tests: dict, allowed: dict[str, Known]) -> Iterator[str]:
    for name, result in sorted(tests.items()):
        status = result["status"]
        if status in FATAL or (status in BAD and name not in allowed):
            yield f"{status.upper()} {name}"


def stale_entries(tests: dict, allowed: dict[str, Known], expected: set[str]) -> Iterator[str]:
    """Entries that pass at the first try, or that name no test of this version."""
    for name, entry in sorted(allowed.items()):
        if name in tests:
            result = tests[name]
            passed = result["status"] in ("pass", "inert") and "first" not in result
            if passed and not entry.flaky:
                yield f"PASSES {name}: delete its entry"
        elif expected and name not in expected:
            yield f"UNKNOWN {name}: no such test on this version, correct its entry"


def silent_modules(tests: dict, expected: set[str]) -> list[str]:
    """Modules of which nothing ran: they could not be imported, and would count as no failure."""
    ran = {name.split(".")[0] for name in tests}
    wanted = {name.split(".")[0] for name in expected}
    return [f"SILENT {module}: none of its tests ran" for module in sorted(wanted - ran)]


def notes(results: dict) -> list[str]:
    """Worth reading, not worth failing: second tries, and skips where the reference has none."""
    lines = [f"flaky   {name}" for name in results["flaky"]]
    skipped = (name for name, result in results["tests"].items() if result["status"] == "skip")
    return lines + [f"skipped {name}" for name in sorted(skipped)]


def score_line(results: dict, allowed: dict, new: list[str], stale: list[str]) -> str:
    counts = results["counts"]
    total = sum(number for status, number in counts.items() if status != "inert")
    passed = counts.get("pass", 0)
    share = f"{100 * passed / total:.2f} %" if total else "nothing ran"
    tail = (
        f"{len(allowed)} known, {len(new)} new, {len(stale)} stale, {len(results['flaky'])} flaky"
    )
    return f"conformance on {results['python']}: {passed} / {total} = {share}; {tail}"


def shortened(lines: list[str], limit: int = 60) -> list[str]:
    """run.py has printed them all; a loop that is broken altogether needs no second list."""
    more = len(lines) - limit
    return lines if more <= 0 else [*lines[:limit], f"... and {more} more"]


def eligible(version: str) -> set[str]:
    """The ids that the reference passes on this version."""
    path = SUITE / "eligible" / f"{version}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return {name for line in lines if (name := line.split("#")[0].strip())}


def run_suite(python: Path, version: str, arguments: list[str]) -> dict:
    """Run it, its progress on our output, and read the results back."""
    out = ROOT / "target" / "conformance" / f"{version}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    command = [python, SUITE / "run.py", "--loop", "oxloop:new_event_loop", "-j", "2"]
    subprocess.run([*command, "--json", out, *arguments], cwd=out.parent, check=False)
    if not out.exists():
        sys.exit("conformance: run.py ended without results")
    return json.loads(out.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("arguments", nargs="*", help="for run.py, after --")
    args = parser.parse_args()
    if not SUITE.exists():
        print(f"conformance: skipped, there is no {SUITE}")
        return 0
    answer = subprocess.check_output([args.python, "-c", ASK_VERSION], text=True)
    version, full_version, has_tests = answer.split()
    if has_tests != "yes":
        print(f"conformance: SKIPPED, {args.python} ({full_version}) has no test.test_asyncio")
        return 0
    results = run_suite(args.python.absolute(), version, args.arguments)
    expected = set() if args.arguments else eligible(version)
    verdict = judge(results, load_known(KNOWN), version, expected)
    print("\n" + "\n".join([*verdict.notes, *shortened(verdict.problems), verdict.score]))
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
