"""Build the source distribution and install from it as somebody else would: in a clean environment.

The archive goes to target/sdist. It has to have what a locked build needs (every crate of the
workspace, since the lock file is one for all) and nothing that was made; what is installed from it
has to run. Needs access to PyPI and crates.io.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from install import BIN, ROOT

OUT = ROOT / "target" / "sdist"
NEEDED = (
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "crates/abi/src/lib.rs",
    "crates/engine/src/lib.rs",
    "crates/os/build.rs",
    "crates/os/src/lib.rs",
    "crates/oxloop/src/lib.rs",
    "crates/py/src/lib.rs",
    "pyproject.toml",
    "python/oxloop/__init__.py",
    "python/oxloop/_children/sitecustomize.py",
    "python/oxloop/py.typed",
    "python/pytest_oxloop/__init__.py",
)
TALK = """
import asyncio, oxloop

async def main():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\\n")
        return await reader.read(), type(asyncio.get_running_loop())

assert oxloop.run(main()) == (b"hello\\n", oxloop.EventLoop)
"""


def build() -> Path:
    shutil.rmtree(OUT, ignore_errors=True)
    subprocess.run([BIN / "maturin", "sdist", "--out", OUT], cwd=ROOT, check=True)
    (archive,) = OUT.glob("*.tar.gz")
    return archive


def complaints(archive: Path) -> list[str]:
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    missing = [f"{name} is missing" for name in NEEDED if name not in names]
    made = [f"{name} was made" for name in names if name.endswith((".so", ".pyc"))]
    return missing + made


def try_it(archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="oxloop-sdist-") as folder:
        command: list[str | Path] = [
            BIN / "uv",
            "venv",
            "--quiet",
            "--seed",
            "--python",
            sys.executable,
        ]
        subprocess.run([*command, f"{folder}/env"], check=True)
        python = f"{folder}/env/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", archive], check=True)
        for words in (["-c", TALK], ["-m", "oxloop", "info"]):
            subprocess.run([python, *words], cwd=folder, check=True)


def main() -> None:
    archive = build()
    if wrong := complaints(archive):
        sys.exit("\n".join(wrong))
    try:
        try_it(archive)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd} failed")
    print(f"{archive.relative_to(ROOT)}: complete, and what is installed from it runs")


if __name__ == "__main__":
    main()
