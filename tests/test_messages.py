"""What oxloop says in words of its own: what is wrong, and then what to do about it.

Where asyncio has words, the other tests compare them.
"""

import math
import subprocess
import sys
from contextlib import closing

import pytest

import oxloop
from oxloop import _hooks

pytestmark = pytest.mark.oxloop_only


def said_by(*words):
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode
    return done.stderr


def test_a_deadline_that_is_no_number():
    message = r"NaN.*give a number of seconds"
    with closing(oxloop.new_event_loop()) as loop, pytest.raises(ValueError, match=message):
        loop.call_at(math.nan, print)


def test_a_clock_that_is_no_clock():
    with closing(oxloop.new_event_loop()) as loop:
        loop.time = lambda: math.nan
        loop.call_soon(loop.stop)
        with pytest.raises(ValueError, match=r"loop.time\(\).*it has to return seconds"):
            loop.run_forever()


def test_a_session_that_is_forced():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_hooks.tls, "TLS_SESSION", "direct")
        with pytest.raises(RuntimeError, match=r"OXLOOP_TLS=direct.*unset the variable"):
            _hooks.check_tls_not_forced()


def test_a_name_that_the_stand_in_has_not():
    source = "import oxloop; oxloop.as_uvloop().secret"
    assert "use asyncio's, or install uvloop" in said_by("-c", source)


def test_the_real_one_is_there():
    source = "import sys, types, oxloop; sys.modules['uvloop'] = types.ModuleType('uvloop')\n"
    assert "call oxloop.as_uvloop() before" in said_by("-c", f"{source}oxloop.as_uvloop()")


@pytest.mark.parametrize("words", [(), ("-m",), ("--unknown",)])
def test_a_command_line_that_is_none(words):
    assert "usage: python -m oxloop" in said_by("-m", "oxloop", *words)


def test_no_policies_any_more(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 16))
    with pytest.raises(RuntimeError, match=r"pass loop_factory=oxloop\.new_event_loop"):
        oxloop.install()
