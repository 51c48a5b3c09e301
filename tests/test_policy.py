"""How programs choose the loop: run, Runner, new_event_loop, install, policies."""

import asyncio
import subprocess
import sys

import pytest
from support import until

OXLOOP = pytest.mark.oxloop_only


async def which():
    return type(asyncio.get_running_loop())


def child(source, *flags):
    command = [sys.executable, *flags, "-c", source]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def prints(source, expected, *flags):
    result = child(source, *flags)
    assert result.returncode == 0, result.stderr
    assert result.stdout == expected


def test_runner_with_a_loop_factory(loop_factory, no_leaked_fds):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        assert type(loop) is runner.run(which())
        assert runner.run(which()) is type(loop)
    assert loop.is_closed()


def test_runner_in_debug_mode(loop_factory):
    async def main():
        return asyncio.get_running_loop().get_debug()

    with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
        assert runner.run(main()) is True


def test_set_event_loop(loop):
    asyncio.set_event_loop(loop)
    try:
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)


def test_a_new_loop_is_not_the_current_one(loop, run):
    async def main():
        assert asyncio.get_running_loop() is loop
        assert asyncio.get_event_loop() is loop

    run(main())
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


@OXLOOP
def test_names():
    import oxloop

    assert isinstance(oxloop.__version__, str) and oxloop.__version__[0].isdigit()
    loop = oxloop.new_event_loop()
    assert type(loop) is oxloop.EventLoop
    assert issubclass(oxloop.EventLoop, asyncio.SelectorEventLoop)
    loop.close()


@OXLOOP
def test_run():
    import oxloop

    assert oxloop.run(which()) is oxloop.EventLoop


@OXLOOP
def test_run_takes_debug():
    import oxloop

    async def main():
        return asyncio.get_running_loop().get_debug()

    assert oxloop.run(main(), debug=True) is True


@OXLOOP
def test_run_refuses_a_running_loop():
    import oxloop

    async def main():
        coroutine = which()
        with pytest.raises(RuntimeError):
            oxloop.run(coroutine)
        coroutine.close()

    oxloop.run(main())


@OXLOOP
def test_run_closes_the_loop_and_passes_exceptions_on():
    import oxloop

    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        oxloop.run(main())
    assert loops[0].is_closed()


@OXLOOP
def test_the_import_is_silent_and_changes_nothing():
    source = "import asyncio, oxloop; print(type(asyncio.new_event_loop()).__module__)"
    prints(source, "asyncio.unix_events\n", "-W", "error::DeprecationWarning")
    prints("import oxloop", "", "-X", "dev", "-W", "error")


@OXLOOP
def test_install():
    source = """
import asyncio, oxloop
oxloop.install()
async def main():
    print(type(asyncio.get_running_loop()) is oxloop.EventLoop)
asyncio.run(main())
print(type(asyncio.new_event_loop()) is oxloop.EventLoop)
"""
    prints(source, "True\nTrue\n")


@OXLOOP
@until(3, 14)
def test_policy():
    source = """
import asyncio, oxloop
asyncio.set_event_loop_policy(oxloop.EventLoopPolicy())
async def main():
    print(type(asyncio.get_running_loop()) is oxloop.EventLoop)
    process = await asyncio.create_subprocess_exec("true")
    print(await process.wait())
asyncio.run(main())
"""
    prints(source, "True\n0\n", "-W", "error")


@OXLOOP
@until(3, 16)
def test_policy_is_asyncios():
    source = """
import asyncio, oxloop
policy = oxloop.EventLoopPolicy()
loop = policy.new_event_loop()
print(isinstance(loop, oxloop.EventLoop), isinstance(policy, asyncio.AbstractEventLoopPolicy))
loop.close()
"""
    prints(source, "True True\n", "-W", "ignore")


@OXLOOP
def test_unknown_names_raise_attribute_error():
    import oxloop

    with pytest.raises(AttributeError):
        oxloop.no_such_name  # noqa: B018
