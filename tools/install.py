"""Build the extension for the interpreter of an environment and install it there.

The environment gets a wheel, not a link to the sources: what is tested is what is shipped. maturin
and uv are those of the environment this script runs in. A digest of the sources left in the
environment tells when there is nothing to do, one beside the wheel that it can be used again. All
interpreters share one target folder: cargo then compiles the crates that know no Python once, and
the others quickly.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def sources() -> Iterator[Path]:
    """Every file a wheel is made of."""
    yield from (ROOT / name for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml"))
    for pattern in ("crates/*/Cargo.toml", "crates/*/build.rs", "crates/*/src/**/*.rs"):
        yield from sorted(ROOT.glob(pattern))
    for path in sorted((ROOT / "python").rglob("*")):
        if path.suffix in (".py", ".pyi", ".typed"):
            yield path


def digest(profile: str) -> str:
    """Names the content of the wheel that would be built."""
    state = hashlib.sha256(profile.encode())
    for path in sources():
        content = path.read_bytes()
        state.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return state.hexdigest()


def interpreter_of(env: Path) -> Path:
    """The one the environment was made with. Environments of the same one share their wheel."""
    ask = "import sys; print(sys._base_executable)"
    command: list[str | Path] = [env / "bin" / "python", "-c", ask]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def build(python: Path, profile: str) -> Path:
    """The wheel of these sources for that interpreter; made if the last one is of others."""
    name = f"{python}-{profile}".strip("/").replace("/", "-")
    wheels, wanted = ROOT / "target" / "wheels" / name, digest(profile)
    mark = wheels / ".oxloop"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(wheels, ignore_errors=True)
        command: list[str | Path] = [BIN / "maturin", "build", "--profile", profile]
        # A wheel for this machine alone needs no audit.
        command += ["--auditwheel", "skip", "--compatibility", "linux"]
        command += ["--interpreter", python, "--out", wheels]
        subprocess.run(command, cwd=ROOT, check=True)
        mark.write_text(wanted)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def install(env: Path, profile: str) -> None:
    """Make `env` have the oxloop of these sources; raise CalledProcessError if that fails."""
    wanted, mark = digest(profile), env / ".oxloop"
    if mark.exists() and mark.read_text() == wanted:
        print(f"oxloop in {env.name} is up to date")
        return
    mark.unlink(missing_ok=True)
    wheel = build(interpreter_of(env), profile)
    command: list[str | Path] = [
        BIN / "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--reinstall",
    ]
    subprocess.run([*command, "--python", env / "bin" / "python", wheel], cwd=ROOT, check=True)
    mark.write_text(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("env", type=Path, help="folder of the virtual environment")
    parser.add_argument("--profile", default="release", help="cargo profile")
    args = parser.parse_args()
    try:
        install(args.env.absolute(), args.profile)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(error.cmd[0]).name} failed")


if __name__ == "__main__":
    main()
