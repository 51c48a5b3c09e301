"""check_arrows.py passes a small sound house, and names what breaks in an unsound one."""

import subprocess
from pathlib import Path

import check_arrows
import pytest

WORKSPACE = """
[workspace]
resolver = "3"
members = ["crates/*"]
exclude = ["others"]
[workspace.lints.clippy]
undocumented_unsafe_blocks = "deny"
"""
MANIFEST = """
[package]
name = "oxloop-{room}"
version = "0.1.0"
edition = "2021"
[lints]
workspace = true
[dependencies]
"""
FORBID = "#![forbid(unsafe_code)]\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def depend(root: Path, room: str, name: str, where: str) -> None:
    """Let a crate depend on another one by its path."""
    with (root / "crates" / room / "Cargo.toml").open("a") as manifest:
        manifest.write(f'{name} = {{ path = "{root / where}" }}\n')


def outsider(root: Path, name: str) -> None:
    """A stand-in for a crate of somebody else: no registry is needed."""
    write(root / "others" / name / "Cargo.toml", f'[package]\nname = "{name}"\nversion = "1.0.0"\n')
    write(root / "others" / name / "src/lib.rs", "")


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house in which every rule holds."""
    monkeypatch.setenv("CARGO_NET_OFFLINE", "true")
    write(tmp_path / "Cargo.toml", WORKSPACE)
    for room in ("os", "engine", "py"):
        write(tmp_path / "crates" / room / "Cargo.toml", MANIFEST.format(room=room))
        write(tmp_path / "crates" / room / "src/lib.rs", FORBID if room == "engine" else "")
    for name in ("pyo3", "rustix", "libc", "helper"):
        outsider(tmp_path, name)
    write(tmp_path / "python/oxloop/__init__.py", "import asyncio\nfrom . import _oxloop\n")
    depend(tmp_path, "os", "rustix", "others/rustix")
    depend(tmp_path, "engine", "oxloop-os", "crates/os")
    depend(tmp_path, "py", "oxloop-engine", "crates/engine")
    depend(tmp_path, "py", "pyo3", "others/pyo3")
    return tmp_path


@pytest.fixture
def failures(house, capsys):
    """Run the check; return the lines of what fails, having compared the exit status."""

    def failures():
        status = check_arrows.main(["--root", str(house)])
        lines = capsys.readouterr().out.splitlines()
        assert status == any(line.startswith("FAILED") for line in lines)
        return [line[7:] for line in lines if line.startswith(("FAILED", " "))]

    return failures


def lines_with(found, text):
    return [line for line in found if text in line]


def test_a_sound_house_passes(failures):
    assert failures() == []


def test_pyo3_reached_through_another_crate(house, failures):
    write(
        house / "others/helper/Cargo.toml",
        f'[package]\nname = "helper"\nversion = "1.0.0"\n'
        f'[dependencies]\npyo3 = {{ path = "{house}/others/pyo3" }}\n',
    )
    depend(house, "engine", "helper", "others/helper")
    assert lines_with(failures(), "crates/engine reaches pyo3")


def test_pyo3_reached_by_the_tests_alone(house, failures):
    with (house / "crates/os/Cargo.toml").open("a") as manifest:
        manifest.write("[dev-dependencies]\n")
    depend(house, "os", "pyo3", "others/pyo3")
    assert lines_with(failures(), "crates/os reaches pyo3")


def test_a_system_crate_in_a_manifest(house, failures):
    depend(house, "py", "libc", "others/libc")
    assert lines_with(failures(), "crates/py/Cargo.toml names libc")


@pytest.mark.parametrize(
    "source", ["use rustix;", "fn f() { libc::close(3); }", "use oxloop_os::rustix::net;"]
)
def test_a_system_crate_in_a_source(house, failures, source):
    write(house / "crates/engine/src/lib.rs", f"{FORBID}{source}\n")
    assert lines_with(failures(), "crates/engine/src/lib.rs:2 names a system crate")


def test_a_comment_may_name_anything(house, failures):
    text = f"{FORBID}// as libc::close and rustix::io do, unlike pyo3\n"
    write(house / "crates/engine/src/lib.rs", text)
    assert failures() == []


def test_an_arrow_back(house, failures):
    write(house / "crates/engine/Cargo.toml", MANIFEST.format(room="engine"))
    depend(house, "os", "oxloop-engine", "crates/engine")
    assert lines_with(failures(), "crates/os depends on crates/engine")


def test_a_crate_nobody_planned(house, failures):
    write(house / "crates/extra/Cargo.toml", MANIFEST.format(room="extra"))
    write(house / "crates/extra/src/lib.rs", "")
    assert lines_with(failures(), "crates/extra is not in MAY_KNOW")


def test_a_missing_crate(house, failures):
    write(house / "crates/py/Cargo.toml", MANIFEST.format(room="py"))
    subprocess.run(["rm", "-r", house / "crates/engine"], check=True)
    assert lines_with(failures(), "crates/engine is not in the workspace")


def test_unsafe_code_allowed_in_the_engine(house, failures):
    write(house / "crates/engine/src/lib.rs", f"// {FORBID}")
    assert lines_with(failures(), "lacks #![forbid(unsafe_code)]")


@pytest.mark.parametrize("level", ['"warn"', '{ level = "warn", priority = 1 }'])
def test_undocumented_unsafe_allowed(house, failures, level):
    write(house / "Cargo.toml", WORKSPACE.replace('"deny"', level))
    assert lines_with(failures(), "undocumented_unsafe_blocks is 'warn'")


def test_a_crate_with_lints_of_its_own(house, failures):
    path = house / "crates/py/Cargo.toml"
    write(path, path.read_text().replace("[lints]\nworkspace = true", ""))
    assert lines_with(failures(), "crates/py/Cargo.toml lacks [lints]")


def test_python_that_needs_a_package(house, failures):
    write(house / "python/oxloop/_run.py", "def f():\n    import uvicorn.main\n")
    assert lines_with(failures(), "_run.py:2 imports uvicorn")


def test_a_stub_may_use_what_type_checkers_bring(house, failures):
    write(house / "python/oxloop/_oxloop.pyi", "from typing_extensions import disjoint_base\n")
    assert failures() == []
