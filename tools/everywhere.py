"""Run the contract tests and the conformance suite on every interpreter there is.

`../shared/pythons/install.sh` says which, when it is there; otherwise the CPythons on PATH. Each
gets an environment in target/envs, and the extension in the `ci` profile. What a stage prints goes
to target/logs; how it ended is shown. One that fails does not keep the others from being tested:
the end says of each how it went, and once more what failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from install import BIN, ROOT

INSTALLER = ROOT.parent / "shared" / "pythons" / "install.sh"
LOGS = ROOT / "target" / "logs"
#: Lines shown of a stage that passed, of one that failed, and once more at the end.
PASSED, FAILED, AGAIN = 1, 200, 40
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass
class Report:
    """What came of one interpreter: seconds for each stage, and the log of each that failed."""

    version: str
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, Path] = field(default_factory=dict)

    def stage(self, name: str, work: Callable[[IO[str]], object]) -> bool:
        """Run one stage, note how long it took and whether it passed."""
        print(f"\n== {self.version}: {name}", flush=True)
        start = time.monotonic()
        log = LOGS / f"{self.version}-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("w") as out:
                work(out)
        except subprocess.CalledProcessError as error:
            self.failed[name] = log
            print(last_lines(log, FAILED))
            print(f"== {self.version}: {name} FAILED, exit status {error.returncode}", flush=True)
        else:
            print(last_lines(log, PASSED), flush=True)
        self.seconds[name] = time.monotonic() - start
        return name not in self.failed

    def __str__(self) -> str:
        times = "  ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        verdict = "FAILED: " + ", ".join(self.failed) if self.failed else "ok"
        return f"{self.version:5} {times}  {verdict}"


def interpreters() -> dict[str, Path]:
    """The interpreters to test on, by version."""
    paths = installed() if INSTALLER.exists() else on_path()
    found = {version_of(path): Path(path) for path in paths}
    return {version: path for version, path in sorted(found.items()) if version}


def installed() -> list[str]:
    """Those the installer prints. Where it may not install, PATH will do, but not in CI."""
    done = subprocess.run(["bash", INSTALLER], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return done.stdout.split()
    if os.environ.get("CI"):
        sys.exit(f"{INSTALLER} failed")
    print(f"{INSTALLER} failed; using the interpreters on PATH", file=sys.stderr)
    return on_path()


def on_path() -> list[str]:
    return [path for version in VERSIONS if (path := shutil.which(f"python{version}"))]


def version_of(path: str | Path) -> str:
    """Empty for a command that does not run, such as a version manager's unset shim."""
    done = subprocess.run([path, "-c", ASK_VERSION], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def run(*command: str | Path, out: IO[str] | None = None) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=out, stderr=out and subprocess.STDOUT)


def last_lines(log: Path, count: int) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def make_env(python: Path, env: Path, out: IO[str] | None = None) -> None:
    """A fresh environment, unless one stands that was made for this interpreter."""
    mark = env / ".made-for"
    if not mark.exists() or mark.read_text() != identity(python):
        run(BIN / "uv", "venv", "--quiet", "--clear", "--python", python, env, out=out)
        mark.write_text(identity(python))
    uv = (BIN / "uv", "pip", "install", "--quiet", "--python", env / "bin/python")
    run(*uv, "--group", "test", out=out)


def identity(python: Path) -> str:
    done = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True)
    return f"{python} {done.stdout}"


def examine(version: str, python: Path) -> Report:
    """Build for one interpreter, then run everything that depends on it."""
    env = ROOT / "target" / "envs" / version
    here, tools = env / "bin" / "python", ROOT / "tools"
    report = Report(version)
    if not report.stage("environment", lambda out: make_env(python, env, out)):
        return report
    build = (sys.executable, tools / "install.py", env, "--profile", "ci")
    if not report.stage("build", lambda out: run(*build, out=out)):
        return report
    gate = (sys.executable, tools / "conformance.py", "--python", here)
    report.stage("tests", lambda out: run(here, "-m", "pytest", "-q", "tests", out=out))
    report.stage("conformance", lambda out: run(*gate, out=out))
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="X.Y", help="these versions alone")
    args = parser.parse_args()
    found = interpreters()
    chosen = {v: path for v, path in found.items() if not args.only or v in args.only}
    if not chosen:
        sys.exit(f"none of {args.only or VERSIONS} found")
    print("interpreters:", *(f"{v} ({path})" for v, path in chosen.items()), flush=True)
    reports = [examine(version, path) for version, path in chosen.items()]
    for report in reports:
        for stage, log in report.failed.items():
            print(f"\nFAILED {report.version} {stage}\n{last_lines(log, AGAIN)}")
    print("\n" + "\n".join(map(str, reports)))
    return 1 if any(report.failed for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
