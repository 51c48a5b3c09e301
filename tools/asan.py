"""Run the tests under AddressSanitizer: the Rust ones, then the Python ones with the extension.

Needs a nightly toolchain with its sanitizers (`TOOLCHAIN` names another one), `cc` and `ar`. The
standard library is the one that comes with it: its own code is not instrumented, but its memory is
the sanitizer's. So is the interpreter's, by PYTHONMALLOC=malloc: each object is memory of its own.

The toolchain has the sanitizer's runtime as an archive for programs. An interpreter is a program
that was built without, so the archive becomes a library that is loaded before everything else, in
child processes too.

What is reported goes to files, for a test may look at a child's output: any report fails the run.
Leaks are looked for as well, at the end of every process. They do not change its exit status, which
a test may look at, too; a real error aborts the process. What the interpreter leaves behind is
still referred to by its own structures at that point; what it is right to leak is named below.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from extensions import MODULES

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "asan"
TOOLCHAIN = "+" + os.environ.get("TOOLCHAIN", "nightly")
TARGET = (
    "x86_64-unknown-linux-gnu" if os.uname().machine == "x86_64" else "aarch64-unknown-linux-gnu"
)
CRATES = ("oxloop-os", "oxloop-engine", "oxloop")

OPTIONS = {
    "abort_on_error": 1,
    "detect_stack_use_after_return": 1,
    "detect_leaks": 1,
    "exitcode": 0,
    "log_path": PLACE / "reports" / "report",
}
# Reads what was freed: a run in which this goes unnoticed would prove nothing.
WRONG = """
import ctypes, oxloop
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
memory = libc.malloc(64)
libc.free(memory)
ctypes.string_at(memory, 64)
"""
# Functions whose allocations may be leaked, with the reason.
MAY_LEAK = (
    # PyO3's tables of a class that was made by its first use: classes are never freed.
    "pyo3::pyclass::create_type_object",
)


def run(*command: str | Path, **environment: str | Path) -> int:
    env = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{' '.join(command)} failed ({error}): a nightly toolchain is needed")


def cargo(*arguments: str, **environment: str | Path) -> int:
    """Run cargo on what is instrumented; build scripts and macros are not, for they have a target
    of their own."""
    environment |= {"RUSTFLAGS": "-Zsanitizer=address", "CARGO_TARGET_DIR": PLACE}
    return run("cargo", TOOLCHAIN, *arguments, "--target", TARGET, **environment)


def runtime() -> Path:
    """The sanitizer's runtime as a library, made of the toolchain's archive."""
    libraries = Path(
        output_of("rustc", TOOLCHAIN, "--print", "sysroot"), "lib/rustlib", TARGET, "lib"
    )
    archives = list(libraries.glob("librustc-*_rt.asan.a"))
    if not archives:
        sys.exit(f"no AddressSanitizer in {libraries}")
    archive, library = PLACE / "runtime.a", PLACE / "libruntime.so"
    shutil.copy(archives[0], archive)
    # What begins it before the program is for programs alone.
    members = output_of("ar", "t", str(archive)).split()
    early = [name for name in members if "preinit" in name]
    subprocess.run(["ar", "d", str(archive), *early], check=True)
    command = ["cc", "-shared", "-o", str(library), "-Wl,--whole-archive", str(archive)]
    command += ["-Wl,--no-whole-archive", "-lpthread", "-ldl", "-lm", "-lrt", "-lresolv"]
    subprocess.run(command, check=True)
    return library


def package() -> Path:
    """A folder to import oxloop from, and the modules that use it from Rust, all instrumented."""
    packages = [word for name in ("oxloop-python", *MODULES) for word in ("--package", name)]
    if cargo("build", *packages, PYO3_PYTHON=sys.executable):
        sys.exit("building the extensions failed")
    folder = PLACE / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "python", folder, ignore=ignored)
    places = dict.fromkeys(MODULES.values(), folder) | {"_oxloop": folder / "oxloop"}
    for name, place in places.items():
        extension = PLACE / TARGET / "debug" / f"lib{name}.so"
        if b"__asan_report_load8" not in extension.read_bytes():
            sys.exit(f"{extension} is not instrumented")
        shutil.copy(extension, place / f"{name}.so")
    return folder


def fresh_reports() -> Path:
    folder = PLACE / "reports"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def rust_tests() -> bool:
    """The tests of the crates without Python."""
    tool = ["nextest", "run"] if shutil.which("cargo-nextest") else ["test"]
    options = "detect_stack_use_after_return=1"
    arguments = (argument for crate in CRATES for argument in ("--package", crate))
    return cargo(*tool, "--no-fail-fast", *arguments, ASAN_OPTIONS=options) == 0


def python_tests(arguments: list[str]) -> bool:
    """The contract tests, on oxloop alone: asyncio's own loop runs nothing of ours."""
    folder, library = package(), runtime()
    suppressions = PLACE / "may-leak"
    suppressions.write_text("".join(f"leak:{name}\n" for name in MAY_LEAK))

    def python(*command: str) -> tuple[int, list[str]]:
        reports = fresh_reports()
        status = run(
            *(sys.executable, *command),
            LD_PRELOAD=library,
            PYTHONPATH=folder,
            OXLOOP_EXTENSIONS=folder,
            PYTHONMALLOC="malloc",
            ASAN_OPTIONS=":".join(f"{name}={value}" for name, value in OPTIONS.items()),
            LSAN_OPTIONS=f"suppressions={suppressions}:print_suppressions=0",
        )
        return status, [text for path in reports.iterdir() if "ERROR" in (text := path.read_text())]

    status, found = python("-c", WRONG)
    if status == 0 or not any("heap-use-after-free" in report for report in found):
        sys.exit("the sanitizer is not at work")
    status, found = python("-m", "pytest", "--loop", "oxloop", *(arguments or ["tests"]))
    print(*found, sep="\n", end="")
    print(f"{len(found)} processes had something to report")
    return status == 0 and not found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("rust", "python"), help="one half")
    parser.add_argument("arguments", nargs="*", help="for pytest, in the place of `tests`")
    args = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    output_of("cargo", TOOLCHAIN, "--version")
    passed = [
        args.only == "python" or rust_tests(),
        args.only == "rust" or python_tests(args.arguments),
    ]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
