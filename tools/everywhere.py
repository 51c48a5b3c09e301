"""Run the contract tests and the conformance suite on every interpreter there is.

`../shared/pythons/install.sh` says which, when it is there; otherwise the CPythons on PATH. Each
gets an environment in target/envs, and the extension in the `ci` profile. One that fails does not
keep the others from being tested; the table at the end has all.
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

from install import BIN, ROOT, install

INSTALLER = ROOT.parent / "shared" / "pythons" / "install.sh"
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass
class Report:
    """What came of one interpreter: seconds for each stage, and the stage that failed."""

    version: str
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def stage(self, name: str, work: Callable[[], object]) -> bool:
        """Run one stage, note how long it took and whether it passed."""
        print(f"\n== {self.version}: {name}", flush=True)
        start = time.monotonic()
        try:
            work()
        except subprocess.CalledProcessError as error:
            print(f"== {self.version}: {name} FAILED, exit status {error.returncode}", flush=True)
            self.failed.append(name)
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


def run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def make_env(python: Path, env: Path) -> None:
    """A fresh environment, unless one stands that was made for this interpreter."""
    mark = env / ".made-for"
    if not mark.exists() or mark.read_text() != identity(python):
        run(BIN / "uv", "venv", "--quiet", "--clear", "--python", python, env)
        mark.write_text(identity(python))
    run(BIN / "uv", "pip", "install", "--quiet", "--python", env / "bin/python", "--group", "test")


def identity(python: Path) -> str:
    done = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True)
    return f"{python} {done.stdout}"


def examine(version: str, python: Path) -> Report:
    """Build for one interpreter, then run everything that depends on it."""
    env = ROOT / "target" / "envs" / version
    here = env / "bin" / "python"
    report = Report(version)
    if not report.stage("environment", lambda: make_env(python, env)):
        return report
    if not report.stage("build", lambda: install(env, "ci")):
        return report
    report.stage("tests", lambda: run(here, "-m", "pytest", "-q", "tests"))
    gate = ROOT / "tools" / "conformance.py"
    report.stage("conformance", lambda: run(sys.executable, gate, "--python", here))
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
    print("\n" + "\n".join(map(str, reports)))
    return 1 if any(report.failed for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
