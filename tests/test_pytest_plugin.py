"""`pytest --oxloop` puts a suite's loops on oxloop, and says which were made."""

import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from support import until

pytestmark = pytest.mark.oxloop_only

SOURCES = pathlib.Path(__file__).parent.parent / "python" / "pytest_oxloop"
KINDS = """
import asyncio
import sys
import unittest

KEPT = asyncio.new_event_loop


def kind(loop):
    return type(loop).__module__.split(".")[0]


async def current():
    return kind(asyncio.get_running_loop())


class Tests(unittest.IsolatedAsyncioTestCase):
    async def test_unittest(self):
        assert await current() == EXPECTED


def test_run():
    assert asyncio.run(current()) == EXPECTED


def test_a_runner():
    with asyncio.Runner(debug=True) as runner:
        assert runner.run(current()) == EXPECTED


def test_the_loops_own_name():
    loop = asyncio.SelectorEventLoop()
    assert kind(loop) == EXPECTED
    loop.close()


def test_a_function_that_was_kept():
    loop = KEPT()
    assert kind(loop) == EXPECTED
    loop.close()
"""


@pytest.fixture
def suite(tmp_path):
    """Write a test file and run pytest on it in a child."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    registered = importlib.metadata.entry_points(group="pytest11", name="oxloop")
    options = [] if registered else ["-p", "pytest_oxloop"]
    if importlib.util.find_spec("pytest_oxloop") is None:
        shutil.copytree(SOURCES, tmp_path / "plugin" / "pytest_oxloop")
        paths = (str(tmp_path / "plugin"), os.environ.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def run(source, *words):
        (tmp_path / "test_suite.py").write_text(source)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", "."]
        return subprocess.run(
            [*command, *options, *words, "test_suite.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("words, expected", [([], "asyncio"), (["--oxloop"], "oxloop")])
def test_whose_loops_a_suite_gets(suite, words, expected):
    done = suite(f"EXPECTED = {expected!r}\n{KINDS}", *words)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
    assert ("oxloop: 5 loops made\n" in done.stdout) == (expected == "oxloop")


def test_oxloop_is_not_imported_unless_it_is_asked(suite):
    done = suite("import sys\ndef test_modules(): assert 'oxloop' not in sys.modules")
    assert done.returncode == 0, done.stdout


@until(3, 16)
def test_a_policy_of_the_suites_own(suite):
    done = suite(
        """
import asyncio

def test_policy():
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    loop = asyncio.new_event_loop()
    assert type(loop).__module__.startswith("oxloop")
    loop.close()
""",
        "--oxloop",
    )
    assert done.returncode == 0, done.stdout


def test_a_loop_that_the_suite_chose_is_reported(suite):
    done = suite(
        """
import asyncio.selector_events

def test_choice():
    asyncio.selector_events.BaseSelectorEventLoop().close()
""",
        "--oxloop",
    )
    assert done.returncode == 0, done.stdout
    assert "oxloop: 0 loops made; besides, of a class the suite chose: 1 of asyncio." in done.stdout


def test_the_stand_in(suite):
    done = suite(
        "import uvloop\ndef test_uvloop(): assert 'stands in' in repr(uvloop)",
        "--oxloop-as-uvloop",
    )
    assert done.returncode == 0, done.stdout


def test_a_uvloop_that_is_imported_already(suite, tmp_path):
    (tmp_path / "early_plugin.py").write_text("import sys, types\nsys.modules['uvloop'] = types\n")
    done = suite("def test_nothing(): pass", "-p", "early_plugin", "--oxloop-as-uvloop")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --oxloop-as-uvloop: the real uvloop is imported already" in done.stderr
