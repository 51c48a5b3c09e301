"""The module that answers `import uvloop`, for programs that know no other name."""

import subprocess
import sys

import pytest
from support import until

pytestmark = pytest.mark.oxloop_only


def python(source, *options, **environment):
    done = subprocess.run(
        [sys.executable, *options, "-c", source], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_import_gives_the_stand_in_and_its_repr_says_so():
    (shown,) = python("import oxloop; oxloop.as_uvloop(); import uvloop; print(uvloop)")
    assert "uvloop" in shown
    assert "oxloop" in shown
    assert "stands in" in shown


def test_importing_oxloop_alone_does_nothing():
    source = "import sys, oxloop; print('uvloop' in sys.modules)"
    assert python(source) == ["False"]


def test_asking_twice_is_fine():
    source = "import oxloop; print(oxloop.as_uvloop() is oxloop.as_uvloop())"
    assert python(source) == ["True"]


def test_the_real_one_is_never_replaced():
    source = """
import sys, types
real = sys.modules["uvloop"] = types.ModuleType("uvloop")
import oxloop
try:
    oxloop.as_uvloop()
except RuntimeError as exc:
    print("already" in str(exc), sys.modules["uvloop"] is real)
"""
    assert python(source) == ["True True"]


def test_names_of_the_module():
    source = """
import oxloop
oxloop.as_uvloop()
import uvloop, uvloop.loop
from uvloop import Loop, new_event_loop
assert Loop is uvloop.loop.Loop is oxloop.EventLoop
loop = new_event_loop()
assert isinstance(loop, uvloop.Loop)
loop.close()
assert tuple(map(int, uvloop.__version__.split("."))) >= (0, 22)
for name in uvloop.__all__:
    getattr(uvloop, name)
"""
    python(source)


def test_it_can_be_found_before_it_is_imported():
    source = """
import importlib, importlib.util, oxloop
stand_in = oxloop.as_uvloop()
assert importlib.util.find_spec("uvloop").origin == "oxloop"
assert importlib.util.find_spec("uvloop.loop").origin == "oxloop"
assert importlib.import_module("uvloop") is stand_in
"""
    python(source)


def test_it_stays_when_it_is_reloaded_or_forgotten():
    source = """
import importlib, sys, oxloop
stand_in = oxloop.as_uvloop()
assert importlib.reload(stand_in) is stand_in
assert stand_in.Loop is oxloop.EventLoop
del sys.modules["uvloop"], sys.modules["uvloop.loop"]
import uvloop, uvloop.loop
assert uvloop is stand_in is oxloop.as_uvloop()
assert uvloop.Loop is uvloop.loop.Loop is oxloop.EventLoop
"""
    python(source)


def test_a_missing_name_is_an_attribute_error_that_says_whose():
    source = """
import oxloop
stand_in = oxloop.as_uvloop()
try:
    stand_in.nothing
except AttributeError as exc:
    print("oxloop" in str(exc) and "uvloop" in str(exc))
try:
    from uvloop import nothing
except ImportError:
    print("ImportError")
"""
    assert python(source) == ["True", "ImportError"]


def test_run():
    source = """
import asyncio, oxloop
import sys
uvloop = oxloop.as_uvloop()

async def main():
    try:
        uvloop.run(main())
    except RuntimeError as exc:
        print(exc)
    loop = asyncio.get_running_loop()
    return type(loop), loop.get_debug()

assert uvloop.run(main()) == (oxloop.EventLoop, False)
assert uvloop.run(main(), debug=True) == (oxloop.EventLoop, True)
assert uvloop.run(main(), loop_factory=asyncio.SelectorEventLoop)[0] is asyncio.SelectorEventLoop
"""
    lines = python(source, "-W", "ignore")
    assert lines == ["uvloop.run() cannot be called from a running event loop"] * 3


@until(3, 16)
def test_policy():
    source = """
import asyncio, oxloop
uvloop = oxloop.as_uvloop()
assert uvloop.EventLoopPolicy is oxloop.EventLoopPolicy
uvloop.install()
assert type(asyncio.new_event_loop()) is oxloop.EventLoop
"""
    python(source, "-W", "ignore")


def test_the_command_line_asks_for_it():
    source = "import uvloop, sys; print(uvloop, sys.argv)"
    (line,) = python_on_oxloop("--as-uvloop", "-c", source, "--as-uvloop")
    assert "stands in" in line
    assert line.endswith("['-c', '--as-uvloop']")


def python_on_oxloop(*words, **options):
    done = subprocess.run(
        [sys.executable, "-m", "oxloop", *words],
        capture_output=True,
        text=True,
        timeout=30,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
