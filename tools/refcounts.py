"""Run the contract tests on a debug build of CPython, each several times, and count all references.

The interpreter is the argument, or the `-dbg` one beside those that the tests run on, or one on
PATH. It gets an environment in target/envs and the extension in the `dev` profile, with Rust's own
assertions.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from everywhere import interpreters, make_env, run
from install import ROOT, install

NAMES = [f"python3{minor}{kind}" for minor in ("", ".14", ".15") for kind in ("-dbg", "d")]
COUNTS = "import sys; sys.exit(not hasattr(sys, 'gettotalrefcount'))"


def debug_build() -> Path | None:
    """The first that counts references."""
    named = [Path(name) for name in sys.argv[1:]]
    beside = [path.with_name(name) for path in interpreters().values() for name in NAMES]
    on_path = [Path(found) for name in NAMES if (found := shutil.which(name))]
    for python in (*named, *beside, *on_path):
        if python.exists() and subprocess.run([python, "-c", COUNTS], check=False).returncode == 0:
            return python
    return None


def main() -> int:
    python = debug_build()
    if python is None:
        sys.exit("no debug build of CPython found; say make refcounts DEBUG_PYTHON=...")
    env = ROOT / "target" / "envs" / "debug"
    try:
        make_env(python, env)
        install(env, "dev")
        run(env / "bin" / "python", "tests/refcounts.py", "tests", "--loop", "oxloop")
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
