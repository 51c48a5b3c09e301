"""Tries to break oxloop: every torture case, each in a process of its own.

    python tests/torture/run.py [--full] [-k PART] [-j JOBS] [--seed N] [--loop asyncio]

The quick form takes less than three minutes on two cores; the full form much longer. A failure
says its seed. Cases that make system calls fail need strace, and the right to trace; without it
they are left out, and that is said.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import cases  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("-k", default="", metavar="PART", help="cases with this in their name")
    parser.add_argument("-j", type=int, default=(os.cpu_count() or 1) + 1, metavar="JOBS")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--loop", default="oxloop", choices=("oxloop", "asyncio"))
    return parser.parse_args()


def can_trace():
    """Whether strace is here and may trace."""
    if not shutil.which("strace"):
        return False
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True)
    return tried.returncode == 0


def command(case, options, log):
    """The process of a case, under strace if it wants faults."""
    inside = [sys.executable, str(HERE / "inside.py"), case.name, str(options.seed), options.loop]
    if options.full:
        inside.append("full")
    if not case.inject:
        return inside
    calls = ",".join(rule.partition(":")[0] for rule in case.inject)
    strace = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", "-e", "signal=none"]
    for rule in case.inject:
        strace += ["-e", f"inject={rule}"]
    return strace + inside


def run(case, options):
    """Runs a case: (what is wrong or None, figures, seconds)."""
    started = time.monotonic()
    seconds = case.seconds * (10 if options.full else 1) + 10
    with (
        tempfile.NamedTemporaryFile("r", prefix="torture-") as log,
        tempfile.TemporaryFile("w+", prefix="torture-", errors="replace") as written,
    ):
        child = subprocess.Popen(
            command(case, options, log.name),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        written.seek(0)
        output = written.read()
        injected = log.read().count("(INJECTED)") if case.inject else 0
    took = time.monotonic() - started
    if child.returncode != 0 or not output:
        return f"status {child.returncode} after {took:.0f} s\n{output[-6000:]}", {}, took
    figures = json.loads(output.splitlines()[-1])
    if case.inject:
        figures["faults injected"] = injected
        if not injected:
            return "no fault was injected", figures, took
    return None, figures, took


def main():
    options = arguments()
    for path in sorted(HERE.glob("case_*.py")):
        importlib.import_module(path.stem)
    wanted = [case for case in cases.CASES.values() if re.search(options.k, case.name)]
    wanted = [case for case in wanted if options.full or not case.only_full]
    for case in wanted:
        if case.left_out:
            print(f"left out  {case.name}: {case.left_out}")
    wanted = [case for case in wanted if not case.left_out]
    traced = [case for case in wanted if case.inject]
    if traced and not can_trace():
        print(f"strace cannot trace here: {len(traced)} cases are left out")
        wanted = [case for case in wanted if not case.inject]
    # The long ones first, so that the end is short.
    wanted.sort(key=lambda case: -case.seconds)
    totals, failed, started = {}, [], time.monotonic()
    print(f"{len(wanted)} cases on {options.loop}, seed {options.seed}", flush=True)
    with ThreadPoolExecutor(options.j) as pool:
        for case, (wrong, figures, took) in zip(
            wanted, pool.map(lambda case: run(case, options), wanted), strict=True
        ):
            shown = ", ".join(f"{name} {amount:,}" for name, amount in figures.items())
            print(
                f"{'FAILED' if wrong else 'ok':6} {took:6.1f} s  {case.name}  {shown}", flush=True
            )
            if wrong:
                failed.append(case.name)
                print(wrong, flush=True)
            for name, amount in figures.items():
                if isinstance(amount, int):
                    totals[name] = totals.get(name, 0) + amount
    print(", ".join(f"{name} {amount:,}" for name, amount in sorted(totals.items())))
    took = time.monotonic() - started
    print(f"{len(wanted) - len(failed)} of {len(wanted)} cases passed in {took:.0f} s")
    if failed:
        print(f"failed with seed {options.seed}: {' '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
