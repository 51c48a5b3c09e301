"""Run the test suites of released packages on asyncio and on oxloop: what fails on oxloop alone?

tools/downstream.toml names the packages. Each gets an environment in target/downstream with the
released package, what its tests need, and the oxloop of these sources; the tests come from its
source distribution. They run twice, the second time with `--oxloop`. A test counts against oxloop
if it passes on asyncio and does not on oxloop, when the suite runs and again when the test is
repeated by itself; one that vanishes, as in a crash, counts as well. Needs access to PyPI, and for
some suites PostgreSQL or Redis from the system's packages.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import servers
from install import BIN, ROOT, install

PROJECTS = tomllib.loads((ROOT / "tools" / "downstream.toml").read_text())
WORK = ROOT / "target" / "downstream"
# Of every suite: how it is run and what it is told.
NEEDS = ("pytest>=9.2,<10", "pytest-timeout", "pytest-xdist")
WORDS = ("-q", "-o", "addopts=", "-p", "no:cacheprovider", "--no-header", "--tb=short", "-rfE")
TEST_SECONDS, SUITE_SECONDS = 120, 3600
REPEATS = 3
GOOD = ("passed", "skipped", "xfailed")


@dataclass
class Project:
    """One package: where its tests are and how they are run."""

    name: str
    version: str
    needs: list[str]
    tests: list[str]
    drop: list[str]
    options: list[str] = field(default_factory=list)
    parallel: bool = False
    pyargs: bool = False
    plugin: str = ""
    server: str = ""
    unprivileged: bool = False
    excluded: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> Path:
        tag = "".join(map(str, sys.version_info[:2]))
        return WORK / f"{self.name}-{tag}"

    @property
    def python(self) -> Path:
        return self.env / "bin" / "python"

    def make_env(self) -> None:
        if not self.python.exists():
            run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, self.env)
        wanted = (f"{self.name}=={self.version}", *NEEDS, *self.needs)
        run(BIN / "uv", "pip", "install", "--quiet", "--python", self.python, *wanted)
        install(self.env, "ci")

    def unpack(self, folder: Path) -> Path:
        """The sources without the package itself: the installed one is tested."""
        archives = WORK / "archives"
        if not self.archive(archives):
            choice = ("--no-deps", "--no-binary", self.name, f"{self.name}=={self.version}")
            pip = (sys.executable, "-m", "pip", "download", "--quiet")
            run(*pip, "--dest", archives, *choice)
        with tarfile.open(self.archive(archives)) as archive:
            archive.extractall(folder, filter="data")
        (sources,) = folder.iterdir()
        for name in self.drop:
            shutil.rmtree(sources / name)
        return sources

    def archive(self, archives: Path) -> Path | None:
        return next(archives.glob(f"{self.name}-{self.version}.tar.gz"), None)


@dataclass
class Outcome:
    """What came of one project."""

    project: str
    asyncio: dict[str, str]
    oxloop: dict[str, str]
    shaky: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.project:18} {good(self.asyncio):6} of {len(self.asyncio):6} on asyncio"
            f" {good(self.oxloop):6} of {len(self.oxloop):6} on oxloop"
            f" {len(self.shaky):3} shaky {len(self.only):3} fail on oxloop alone"
        )


def good(results: dict[str, str]) -> int:
    return sum(result in GOOD for result in results.values())


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


@contextlib.contextmanager
def server(kind: str, unprivileged: bool) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The server that a suite asks for: what to set in the environment, and what to tell pytest."""
    if kind == "redis":
        with servers.redis() as port:
            yield {}, [f"--redis-url=redis://localhost:{port}/0"]
    elif kind == "postgres" and unprivileged:
        # The suite starts its own.
        yield {"PGINSTALLATION": str(servers.postgres_programs())}, []
    else:
        yield {}, []


class Suite:
    """The tests of a project, unpacked and ready to run."""

    def __init__(self, project: Project, folder: Path, jobs: int) -> None:
        self.project, self.folder, self.jobs = project, folder, jobs
        self.sources = project.unpack(folder / "sources")
        self.environment: dict[str, str] = {}
        self.words: list[str] = []
        if project.plugin:
            (self.sources / "downstream_plugin.py").write_text(project.plugin)
        # Whoever runs the tests must not be root's temporary folder's prisoner.
        self.who = servers.unprivileged() if project.unprivileged else {}

    def run(self, loop: str, tests: list[str]) -> dict[str, str]:
        """The result of each test, by its name."""
        report = self.folder / f"{loop}.xml"
        report.unlink(missing_ok=True)
        command: list[str | Path] = [
            self.project.python,
            "-m",
            "pytest",
            *WORDS,
            f"--timeout={TEST_SECONDS}",
        ]
        command += [f"--junitxml={report}", *self.project.options, *self.words]
        command += ["--oxloop"] if loop == "oxloop" else []
        command += ["-p", "downstream_plugin"] if self.project.plugin else []
        command += ["--pyargs"] if self.project.pyargs else []
        # The few that are repeated have the machine for themselves.
        if self.project.parallel and tests == self.project.tests:
            command += ["-n", str(self.jobs)]
        log = WORK / f"{self.project.env.name}.{loop}.log"
        if self.who:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, **self.who)
        with log.open("ab") as output, contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*command, *tests],
                cwd=self.sources,
                env=servers.environment(HOME=str(self.folder), **self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=SUITE_SECONDS,
                check=False,
                **self.who,
            )
        return read(report)


def read(report: Path) -> dict[str, str]:
    """The results in a JUnit file; the worst of several under one name."""
    results: dict[str, str] = {}
    if not report.exists():
        return results
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag for child in case}
        result = next((kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed")
        if results.get(name) not in ("failure", "error"):
            results[name] = result
    return results


def suspects(asyncio: dict[str, str], oxloop: dict[str, str]) -> list[str]:
    """The tests that asyncio passes and oxloop does not."""
    return [name for name in asyncio if asyncio[name] in GOOD and oxloop.get(name) not in GOOD]


def examine(project: Project, jobs: int) -> Outcome:
    project.make_env()
    for log in WORK.glob(f"{project.env.name}.*.log"):
        log.unlink()
    with (
        tempfile.TemporaryDirectory(prefix="oxloop-downstream-") as folder,
        server(project.server, project.unprivileged) as (environment, words),
    ):
        os.chmod(folder, 0o755)
        suite = Suite(project, Path(folder), jobs)
        suite.environment, suite.words = environment, words
        theirs, ours = (suite.run(loop, project.tests) for loop in ("asyncio", "oxloop"))
        outcome = Outcome(f"{project.name} {project.version}", theirs, ours)
        names = [name for name in suspects(theirs, ours) if name not in project.excluded]
        outcome.only, outcome.shaky = repeat(suite, names)
    return outcome


def repeat(suite: Suite, names: list[str]) -> tuple[list[str], list[str]]:
    """Those that asyncio passes and oxloop does not, again and again; and those that it passes."""
    left = names
    for _ in range(REPEATS):
        if not left:
            break
        again = {
            loop: suite.run(loop, [*suite.project.tests, "-k", any_of(left)])
            for loop in ("asyncio", "oxloop")
        }
        left = [name for name in left if again["oxloop"].get(name) not in GOOD]
    return left, [name for name in names if name not in left]


def any_of(names: list[str]) -> str:
    """A pytest expression for the functions of these tests, whatever their parameters."""
    functions = {name.rpartition("::")[2].partition("[")[0] for name in names}
    return " or ".join(sorted(functions))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projects", nargs="*", help=f"of {', '.join(PROJECTS)}; all if none given")
    parser.add_argument("--jobs", type=int, default=2, help="processes for a suite (%(default)s)")
    args = parser.parse_args()
    if unknown := set(args.projects) - set(PROJECTS):
        parser.error(f"no such projects: {', '.join(sorted(unknown))}")
    WORK.mkdir(parents=True, exist_ok=True)
    outcomes, broken = [], []
    for name in args.projects or PROJECTS:
        print(f"== {name}", flush=True)
        try:
            outcomes.append(examine(Project(name=name, **PROJECTS[name]), args.jobs))
            print(outcomes[-1], flush=True)
        except (subprocess.CalledProcessError, servers.Missing) as error:
            broken.append(f"{name}: {error}")
    return tell(outcomes, broken)


def tell(outcomes: list[Outcome], broken: list[str]) -> int:
    print(f"\nPython {sys.version.split()[0]}")
    for outcome in outcomes:
        print(outcome)
        for kind, names in (("SHAKY", outcome.shaky), ("FAILED", outcome.only)):
            for name in names:
                print(f"  {kind} {name}")
        if not good(outcome.asyncio):
            broken.append(f"{outcome.project}: no test passed; the logs are in {WORK}")
    for line in broken:
        print(f"BROKEN {line}")
    return 1 if broken or any(outcome.only for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
