"""Judge oxloop by CPython's own asyncio tests: nothing may fail that asyncio's own loop passes.

Runs the interpreter's `test.test_asyncio` with oxloop put in the place of asyncio's loop, less
tests/conformance-excluded.toml. What counts is every test that makes a loop and that asyncio's own
loop passes: what fails or skips is tried on that one, and is no loss if it does so there too. A
loss that is not in tests/conformance-known.toml fails, and so does an entry that passes again.
Crashes and hangs are never tolerated; a test that passed at its second try is mentioned.

    tools/conformance.py                          # the interpreter this runs on
    tools/conformance.py --python PATH -k sendfile -k test_tasks. -v
    tools/conformance.py --loop asyncio           # the reference: nothing may be lost
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from conformance_run import BAD, Module, Result, Setting, run_module, test_modules

ROOT = Path(__file__).resolve().parent.parent
EXCLUDED = ROOT / "tests" / "conformance-excluded.toml"
KNOWN = ROOT / "tests" / "conformance-known.toml"
#: Lists of what should count, one id a line, kept beside the repository: compared if there.
LISTS = ROOT.parent / "shared" / "conformance" / "eligible"
FATAL = {"crash", "hang"}
#: Fewer tests than this that made a loop mean that oxloop was not put in. 3.11 has 1625.
FEWEST = 1500
ASK_VERSION = "import platform; print(platform.python_version())"


# -- the two lists ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Excluded:
    """An entry of the list of tests that are not run."""

    ids: list[str]
    why: str
    keep: list[str] = field(default_factory=list)

    def covers(self, name: str) -> bool:
        return matches(name, self.ids) and not matches(name, self.keep)


@dataclass(frozen=True)
class Known:
    """An entry of the list of tests that may fail: where, and why."""

    id: str
    why: str
    pythons: tuple[str, ...] = ()
    flaky: bool = False

    def applies(self, version: str) -> bool:
        return not self.pythons or version in self.pythons


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def load_excluded(path: Path) -> list[Excluded]:
    """The entries of the list; a misspelt or missing key is an error, here and in the other."""
    return [Excluded(**entry) for entry in tomllib.loads(path.read_text()).get("excluded", [])]


def load_known(path: Path) -> list[Known]:
    entries = tomllib.loads(path.read_text()).get("known", [])
    return [Known(**entry | {"pythons": tuple(entry.get("pythons", ()))}) for entry in entries]


# -- running ---------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of a run."""

    #: Results of the tests that count.
    counted: dict[str, Result]
    #: Tests that asyncio's own loop does not pass either.
    void: dict[str, Result]
    #: By module: it could not be run, or its process died late.
    trouble: dict[str, str]
    excluded: int = 0


def run_suite(setting: Setting, excluded: list[Excluded], only: list[str], jobs: int) -> Outcome:
    """Run every module, then ask asyncio's own loop about what did not pass."""

    def wanted(name: str) -> bool:
        chosen = not only or any(part in name for part in only)
        return chosen and not any(entry.covers(name) for entry in excluded)

    def run_one(module: str) -> Module:
        start = time.monotonic()
        done = run_module(setting, module, wanted)
        counts = Counter(result.status for result in done.tests.values())
        if counts:
            seconds = time.monotonic() - start
            numbers = "  ".join(f"{status} {count}" for status, count in sorted(counts.items()))
            print(f"{module:24} {numbers}  ({seconds:.0f} s)", flush=True)
        return done

    names = test_modules(setting.python)
    with ThreadPoolExecutor(jobs) as pool:
        modules = dict(zip(names, pool.map(run_one, names), strict=True))
    tests = {name: result for done in modules.values() for name, result in done.tests.items()}
    lost = {name: result for name, result in tests.items() if result.status != "pass"}
    void = {name: lost[name] for name in not_passed(setting.on("asyncio"), lost)}
    counted = {n: r for n, r in tests.items() if n not in void and (n in lost or r.used)}
    trouble = {name: done.trouble for name, done in modules.items() if done.trouble}
    return Outcome(counted, void, trouble, sum(len(done.excluded) for done in modules.values()))


def not_passed(reference: Setting, names: Iterable[str]) -> set[str]:
    """Those of the tests that the reference does not pass, in two tries."""
    by_module: dict[str, set[str]] = {}
    for name in names:
        by_module.setdefault(name.partition(".")[0], set()).add(name)
    passed = set()
    for module, wanted in by_module.items():
        done = run_module(reference, module, wanted.__contains__)
        passed |= {name for name, result in done.tests.items() if result.status == "pass"}
    return set(names) - passed


# -- judging ---------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What the results mean: `problems` fail the gate, `notes` do not."""

    score: str
    problems: list[str]
    notes: list[str]


def judge(
    outcome: Outcome, known: Iterable[Known], version: str, expected: set[str], whole: bool
) -> Verdict:
    """`expected`: the ids that should count, empty if nobody has listed them; `whole`: all ran."""
    allowed = {entry.id: entry for entry in known if entry.applies(version)}
    tests = outcome.counted
    new = list(unknown_failures(tests, allowed))
    stale = list(stale_entries(tests, allowed, whole))
    problems = new + stale
    problems += [f"TROUBLE {module}: {text}" for module, text in sorted(outcome.trouble.items())]
    if whole:
        problems += miscounted(tests, expected)
    return Verdict(score_line(tests, allowed, new, stale), problems, list(notes(outcome)))


def unknown_failures(tests: dict[str, Result], allowed: dict[str, Known]) -> Iterator[str]:
    for name, result in sorted(tests.items()):
        status = result.status
        if status in FATAL or (status != "pass" and name not in allowed):
            yield f"{status.upper()} {name}"


def stale_entries(
    tests: dict[str, Result], allowed: dict[str, Known], whole: bool
) -> Iterator[str]:
    """Entries that pass at the first try, or that name no test of this version."""
    for name, entry in sorted(allowed.items()):
        if name in tests:
            if tests[name].status == "pass" and not tests[name].first and not entry.flaky:
                yield f"PASSES {name}: delete its entry"
        elif whole:
            yield f"UNKNOWN {name}: no such test on this version, correct its entry"


def miscounted(tests: dict[str, Result], expected: set[str]) -> list[str]:
    """Tests that should have counted and did not, or the other way round."""
    if len(tests) < FEWEST:
        return [f"FEW only {len(tests)} tests made a loop"]
    if not expected:
        return []
    missing = [f"MISSING {name}: did not count" for name in sorted(expected - tests.keys())]
    return missing + [f"EXTRA {name}: is not listed" for name in sorted(tests.keys() - expected)]


def notes(outcome: Outcome) -> Iterator[str]:
    """Worth reading, not worth failing: second tries, and what the reference fails, too."""
    for name, result in sorted(outcome.counted.items()):
        if result.status == "pass" and result.first:
            yield f"flaky   {name} (first: {result.first})"
    for name, result in sorted(outcome.void.items()):
        if result.status in BAD:
            yield f"void    {name}: asyncio's own loop does not pass it either"


def score_line(
    tests: dict[str, Result], allowed: dict[str, Known], new: list[str], stale: list[str]
) -> str:
    passed = sum(result.status == "pass" for result in tests.values())
    flaky = sum(result.status == "pass" and bool(result.first) for result in tests.values())
    share = f"{100 * passed / len(tests):.2f} %" if tests else "nothing ran"
    tail = f"{len(allowed)} known, {len(new)} new, {len(stale)} stale, {flaky} flaky"
    return f"{passed} / {len(tests)} = {share}; {tail}"


def shortened(lines: list[str], limit: int = 60) -> list[str]:
    more = len(lines) - limit
    return lines if more <= 0 else [*lines[:limit], f"... and {more} more"]


# -- the command -----------------------------------------------------------------------------


def listed(version: str) -> set[str]:
    """The ids that should count on this version, where somebody keeps a list of them."""
    path = LISTS / f"{version}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return {name for line in lines if (name := line.split("#")[0].strip())}


def save(outcome: Outcome, version: str) -> None:
    path = ROOT / "target" / "conformance" / f"{version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    tests = {name: vars(result) for name, result in sorted(outcome.counted.items())}
    path.write_text(json.dumps({"tests": tests, "void": sorted(outcome.void)}, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--loop", choices=["oxloop", "asyncio"], default="oxloop")
    parser.add_argument("-k", action="append", default=[], help="only ids that contain this")
    parser.add_argument("-j", type=int, default=2, help="modules run at once")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for a test")
    parser.add_argument("-v", action="store_true", help="say how bad tests failed")
    args = parser.parse_args()
    setting = Setting(args.python.absolute(), args.loop, args.timeout)
    full = subprocess.check_output([setting.python, "-c", ASK_VERSION], text=True).strip()
    if not test_modules(setting.python):
        print(f"conformance: SKIPPED, {args.python} ({full}) comes without test.test_asyncio")
        return 0
    version = ".".join(full.split(".")[:2])
    outcome = run_suite(setting, load_excluded(EXCLUDED), args.k, args.j)
    save(outcome, version)
    whole = not args.k
    verdict = judge(outcome, load_known(KNOWN), version, listed(version), whole)
    if args.v:
        for name, result in outcome.counted.items():
            if result.status != "pass":
                print(f"\n== {name}\n{result.detail}")
    score = f"conformance of {args.loop} on {full}: {verdict.score}"
    print("\n" + "\n".join([*verdict.notes, *shortened(verdict.problems), score]))
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
