"""Systems that are not supported: the build says so in one sentence."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def build_script(tmp_path_factory):
    program = tmp_path_factory.mktemp("build") / "build-script"
    source = ROOT / "crates" / "os" / "build.rs"
    command = ["rustc", "--edition", "2024", "-o", program, source]
    subprocess.run(command, cwd=ROOT, check=True)
    return program


def said_for(system, program):
    done = subprocess.run(
        [program],
        env={**os.environ, "CARGO_CFG_TARGET_OS": system},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("cargo::error=")]


@pytest.mark.parametrize("system", ["macos", "windows", "freebsd"])
def test_other_systems_are_refused_in_one_sentence(build_script, system):
    (sentence,) = said_for(system, build_script)
    assert f"Linux only (epoll, eventfd), not on {system}" in sentence
    assert 'sys_platform == "linux"' in sentence


def test_linux_is_not(build_script):
    assert not said_for("linux", build_script)
