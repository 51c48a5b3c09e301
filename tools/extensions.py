"""Build the extension modules in Rust that are tested: the example, and the one for the tests.

They use oxloop by the table in its capsule alone, so they are built apart from it. The folder they
are put into is meant for PYTHONPATH.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The packages, and the modules they are.
MODULES = {"rust-extension": "rust_extension", "oxloop-probe": "oxloop_probe"}


def libraries(python: Path, profile: str) -> dict[str, Path]:
    """What cargo has built: libraries by their modules."""
    command = [
        "cargo",
        "build",
        "--profile",
        profile,
        "--message-format",
        "json-render-diagnostics",
    ]
    for package in MODULES:
        command += ["--package", package]
    environment = os.environ | {"PYO3_PYTHON": str(python)}
    output = subprocess.check_output(command, cwd=ROOT, env=environment)
    found = {}
    for message in map(json.loads, output.splitlines()):
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["kind"]:
            found[message["target"]["name"]] = Path(message["filenames"][0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the modules")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--profile", default="ci", help="cargo profile (it links quickly)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        found = libraries(args.python.absolute(), args.profile)
    except subprocess.CalledProcessError:
        sys.exit("cargo failed")
    for module in MODULES.values():
        # Whoever has the old one loaded keeps it.
        fresh = args.out / f"{module}.so.new"
        shutil.copy(found[module], fresh)
        fresh.rename(args.out / f"{module}.so")


if __name__ == "__main__":
    main()
