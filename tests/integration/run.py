"""Real software on oxloop: `make integration`.

integration.toml names the parts. Each has a file `check_<part>.py`, whose functions `check_*` are
run in an environment of its own (in target/integration) with what the part needs from PyPI and the
oxloop of these sources. Servers are started on loopback and stopped again; PostgreSQL, Redis, NATS
and Chromium come from the system's packages. A check without them fails and says what to install.
"""

import argparse
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

from install import BIN, ROOT, install  # noqa: E402
from servers import environment  # noqa: E402

PARTS = tomllib.loads((HERE / "integration.toml").read_text())
WORK = ROOT / "target" / "integration"
PART_SECONDS = 600


@dataclass
class Report:
    part: str
    passed: int = 0
    failed: int = 0
    seconds: float = 0
    trouble: str = ""

    @property
    def is_good(self) -> bool:
        return self.passed > 0 and not self.failed and not self.trouble

    def __str__(self) -> str:
        verdict = "ok" if self.is_good else f"FAILED {self.trouble}"
        return f"{self.part:12} {self.passed:3} passed {self.failed:3} failed  {verdict}"


def env_of(part: str) -> Path:
    return WORK / f"{part}-{sys.version_info.major}{sys.version_info.minor}"


def prepare(part: str) -> Path:
    """The interpreter of the part's environment, with everything in it."""
    env = env_of(part)
    python = env / "bin" / "python"
    if not python.exists():
        command = (BIN / "uv", "venv", "--quiet", "--python", sys.executable, env)
        subprocess.run(command, check=True)
    words = ("pip", "install", "--quiet", "--upgrade", "--python", python)
    command = (BIN / "uv", *words, *PARTS[part]["needs"])
    subprocess.run(command, check=True)
    install(env, "ci")
    return python


def run(part: str) -> Report:
    report, start = Report(part), time.monotonic()
    try:
        python = prepare(part)
        paths = f"{HERE}:{TOOLS}"
        done = subprocess.run(
            [python, HERE / f"check_{part}.py"],
            env=environment(PYTHONPATH=paths, PYTHONDONTWRITEBYTECODE="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PART_SECONDS,
            check=False,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        report.trouble = str(error)
        return report
    print(done.stdout, end="", flush=True)
    for line in done.stdout.splitlines():
        report.passed += line.startswith("ok ")
        report.failed += line.startswith("FAILED ")
    if done.returncode and not report.failed:
        report.trouble = f"exit status {done.returncode}"
    report.seconds = time.monotonic() - start
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none given")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such parts: {', '.join(sorted(unknown))}")
    reports = []
    for part in args.parts or PARTS:
        print(f"== {part}", flush=True)
        reports.append(run(part))
        print(reports[-1], flush=True)
    print(f"\nPython {sys.version.split()[0]}", *reports, sep="\n")
    passed = sum(report.passed for report in reports)
    print(f"{passed} checks passed, {sum(not report.is_good for report in reports)} parts failed")
    return 0 if all(report.is_good for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
