"""Check the arrows of the house: who may know whom.

    os ← engine ← py ← python/oxloop, engine ← oxloop, abi ← py, abi ← extension          never back

Reads the resolved dependency graph from `cargo metadata`, the manifests, and the sources. Prints
each rule with ok or FAILED, and what breaks it.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Who may know Python: the binding, and what other extension modules are made with.
BINDINGS = {"py", "extension", "rust_extension", "probe"}
SYSTEM = "os"
SYSTEM_CRATES = ("rustix", "libc", "io-uring")
# The crates of this workspace that each crate may depend on, by their folders.
MAY_KNOW = {
    "os": set(),
    "engine": {"os"},
    "py": {"os", "engine", "abi"},
    "oxloop": {"os", "engine"},
    "abi": set(),
    "extension": {"abi"},
    "rust_extension": {"extension"},  # examples/rust_extension
    "probe": {"extension"},  # tests/probe
}


@dataclass(frozen=True)
class Crate:
    """A member of the workspace: the name of its folder, and its entry in cargo's metadata."""

    room: str
    folder: Path
    package: dict[str, Any]

    @property
    def dependencies(self) -> set[str]:
        """What its manifest names, for every target, feature and kind."""
        return {dependency["name"] for dependency in self.package["dependencies"]}

    @property
    def manifest(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "Cargo.toml").read_text())

    def mentions(self, pattern: str) -> Iterator[str]:
        """Places in its sources, comments aside, where the pattern is found."""
        for path in sorted(self.folder.rglob("*.rs")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.search(pattern, line.split("//")[0]):
                    yield f"crates/{self.room}/{path.relative_to(self.folder)}:{number}"


class House:
    """The workspace below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def metadata(self) -> dict[str, Any]:
        command = ["cargo", "metadata", "--format-version", "1"]
        found: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=self.root))
        return found

    @cached_property
    def crates(self) -> dict[str, Crate]:
        members = set(self.metadata["workspace_members"])
        packages = [package for package in self.metadata["packages"] if package["id"] in members]
        folders = [Path(package["manifest_path"]).parent for package in packages]
        return {
            folder.name: Crate(folder.name, folder, package)
            for folder, package in zip(folders, packages, strict=True)
        }

    def reachable(self, crate: Crate) -> set[str]:
        """The names of all packages its resolved graph reaches, itself aside."""
        edges = {n["id"]: n["dependencies"] for n in self.metadata["resolve"]["nodes"]}
        names = {package["id"]: package["name"] for package in self.metadata["packages"]}
        seen, todo = {crate.package["id"]}, [crate.package["id"]]
        while todo:
            found = set(edges[todo.pop()]) - seen
            seen |= found
            todo += found
        return {names[identity] for identity in seen if identity != crate.package["id"]}


Rule = Callable[[House], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(sentence: str) -> Callable[[Rule], Rule]:
    """Add a rule: a generator of what breaks it."""

    def add(check: Rule) -> Rule:
        RULES[sentence] = check
        return check

    return add


@rule("every crate has a room in the plan, and os, engine and py are there")
def rooms(house: House) -> Iterator[str]:
    for room in {"os", "engine", "py"} - house.crates.keys():
        yield f"crates/{room} is not in the workspace"
    for room in house.crates.keys() - MAY_KNOW.keys():
        yield f"crates/{room} is not in MAY_KNOW"


@rule("os ← engine ← py, engine ← oxloop, abi ← py, abi ← extension, and no arrow back")
def arrows(house: House) -> Iterator[str]:
    rooms = {crate.package["name"]: room for room, crate in house.crates.items()}
    for room, crate in house.crates.items():
        known = {rooms[name] for name in crate.dependencies if name in rooms} - {room}
        for other in sorted(known - MAY_KNOW.get(room, set())):
            yield f"crates/{room} depends on crates/{other}"


@rule("no crate below the bindings reaches pyo3")
def no_python_below(house: House) -> Iterator[str]:
    for room, crate in house.crates.items():
        if room not in BINDINGS:
            for name in sorted(house.reachable(crate)):
                if name.startswith("pyo3"):
                    yield f"crates/{room} reaches {name}"


@rule("only the bindings name pyo3")
def python_in_the_binding(house: House) -> Iterator[str]:
    for room, crate in house.crates.items():
        if room not in BINDINGS:
            yield from (f"{place} names pyo3" for place in crate.mentions(r"\bpyo3"))


@rule("only crates/os names rustix, libc and io-uring")
def system_in_os(house: House) -> Iterator[str]:
    names = "|".join(name.replace("-", "_") for name in SYSTEM_CRATES)
    pattern = rf"\b({names})\s*::|\b(use|crate)\s+({names})\b"
    for room, crate in house.crates.items():
        if room != SYSTEM:
            for name in sorted(crate.dependencies.intersection(SYSTEM_CRATES)):
                yield f"crates/{room}/Cargo.toml names {name}"
            yield from (f"{place} names a system crate" for place in crate.mentions(pattern))


@rule("the engine, the Rust face and the table's declarations forbid unsafe code")
def engine_is_safe(house: House) -> Iterator[str]:
    for room in ("engine", "oxloop", "abi"):
        if room in house.crates:
            library = house.crates[room].folder / "src" / "lib.rs"
            text = library.read_text()
            if not re.search(r"^#!\[forbid\(unsafe_code\)\]", text, re.MULTILINE):
                yield f"crates/{room}/src/lib.rs lacks #![forbid(unsafe_code)]"


@rule("undocumented unsafe blocks are denied for the workspace")
def unsafe_is_explained(house: House) -> Iterator[str]:
    manifest = tomllib.loads((house.root / "Cargo.toml").read_text())
    lints = manifest.get("workspace", {}).get("lints", {}).get("clippy", {})
    level = lints.get("undocumented_unsafe_blocks")
    if isinstance(level, dict):
        level = level.get("level")
    if level not in ("deny", "forbid"):
        yield f"undocumented_unsafe_blocks is {level!r} in Cargo.toml"


@rule("every crate takes the lints of the workspace")
def lints_are_shared(house: House) -> Iterator[str]:
    for room, crate in house.crates.items():
        if crate.manifest.get("lints") != {"workspace": True}:
            yield f"crates/{room}/Cargo.toml lacks [lints] workspace = true"


@rule("python/oxloop imports the standard library and itself, nothing else")
def python_stands_alone(house: House) -> Iterator[str]:
    package = house.root / "python" / "oxloop"
    known = sys.stdlib_module_names | {"oxloop", "__main__"}
    in_stubs = known | {"typing_extensions", "_typeshed"}  # every type checker brings them
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.pyi")]):
        for name, line in imports(path):
            if name not in (in_stubs if path.suffix == ".pyi" else known):
                yield f"{path.relative_to(house.root)}:{line} imports {name}"


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The top-level packages a module imports, wherever in it, with the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0], node.lineno


def broken_by(check: Rule, house: House) -> list[str]:
    """What breaks the rule; a file it needs and cannot read does, too."""
    try:
        return list(check(house))
    except (KeyError, OSError) as error:
        return [f"cannot be checked: {error!r}"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace to check")
    house = House(parser.parse_args(arguments).root)
    broken = {sentence: broken_by(check, house) for sentence, check in RULES.items()}
    for sentence, places in broken.items():
        print(f"{'FAILED' if places else 'ok':6} {sentence}")
        for place in places:
            print(f"       {place}")
    return 1 if any(broken.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
