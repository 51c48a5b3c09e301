"""Runs that end without memory: nothing that a run sets for its thread is left set."""

import asyncio
import sys

import pytest

testcapi = pytest.importorskip("_testcapi")


@pytest.mark.oxloop_only
@pytest.mark.parametrize("failing", [1, 2, 1000])
def test_no_run_is_left_behind(loop, failing):
    hooks = sys.get_asyncgen_hooks()
    for first in range(40):
        loop.call_soon(loop.stop)
        testcapi.set_nomemory(first, first + failing)
        try:
            loop.run_forever()
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
        assert asyncio._get_running_loop() is None
        assert sys.get_asyncgen_hooks() == hooks
        assert sys.get_coroutine_origin_tracking_depth() == 0
        # What was left of the job, or nothing.
        loop.call_soon(loop.stop)
        loop.run_forever()
