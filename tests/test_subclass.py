"""Methods assigned on the instance or overridden in a Python subclass are honoured."""

import asyncio
import socket

import pytest
from support import Boom, Recorder, raising, spin


@pytest.fixture
def make(no_leaked_fds, loop_class):
    """Make a loop from a subclass written in Python."""
    loops = []

    def make(**methods):
        loop = type("Mine", (loop_class,), methods)()
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        loop.close()


def test_assigned_call_soon_is_used(loop):
    real, seen = loop.call_soon, []

    def call_soon(callback, *args, **kwargs):
        seen.append(callback)
        return real(callback, *args, **kwargs)

    loop.call_soon = call_soon
    loop.run_until_complete(asyncio.sleep(0))
    assert seen


def test_assigned_create_future_is_used(loop, run):
    real, made = loop.create_future, []

    def create_future():
        made.append(real())
        return made[-1]

    loop.create_future = create_future
    run(asyncio.sleep(0.001))
    assert made


def test_assigned_call_exception_handler_is_used(loop):
    seen = []
    loop.call_exception_handler = seen.append
    loop.call_soon(raising())
    spin(loop)
    assert isinstance(seen[0]["exception"], Boom)


def test_assigned_getaddrinfo_is_used(loop, run, listener):
    address = listener.getsockname()
    asked = []

    async def getaddrinfo(host, port, **kwargs):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

    loop.getaddrinfo = getaddrinfo

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, "oxloop.invalid", 1)
        assert transport.get_extra_info("peername") == address
        transport.abort()

    run(main())
    assert "oxloop.invalid" in asked


def test_assigned_sock_connect_is_used(loop, run, listener):
    real, asked = loop.sock_connect, []

    async def sock_connect(sock, address):
        asked.append(address)
        return await real(sock, address)

    loop.sock_connect = sock_connect

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
        transport.abort()

    run(main())
    assert asked == [listener.getsockname()]


def test_assigned_time_is_used(loop):
    loop.time = lambda: 1000.0
    assert loop.call_later(5, print).when() == 1005.0


def test_deleting_the_assigned_method_restores_the_real_one(loop):
    loop.time = lambda: -1.0
    del loop.time
    assert loop.time() > 0
    ran = []
    loop.call_later(0.001, ran.append, 1)
    loop.run_until_complete(asyncio.sleep(0.005))
    assert ran == [1]


def test_overridden_call_soon_is_used(make, loop_class):
    seen = []

    def call_soon(self, callback, *args, context=None):
        seen.append(callback)
        return loop_class.call_soon(self, callback, *args, context=context)

    make(call_soon=call_soon).run_until_complete(asyncio.sleep(0))
    assert seen


def test_overridden_call_at_is_used_by_call_later(make, loop_class):
    seen = []

    def call_at(self, when, callback, *args, context=None):
        seen.append(when)
        return loop_class.call_at(self, when, callback, *args, context=context)

    make(call_at=call_at).run_until_complete(asyncio.sleep(0.001))
    assert len(seen) == 1


def test_overridden_create_task_is_used(make, loop_class):
    named = []

    def create_task(self, coro, **kwargs):
        task = loop_class.create_task(self, coro, **kwargs)
        named.append(task)
        return task

    make(create_task=create_task).run_until_complete(asyncio.sleep(0))
    assert len(named) == 1


def test_overridden_default_exception_handler_is_used(make):
    seen = []
    loop = make(default_exception_handler=lambda self, context: seen.append(context["message"]))
    loop.call_soon(raising())
    spin(loop)
    assert seen[0].startswith("Exception in callback")


def test_overridden_run_once_hook_drives_each_turn(make, loop_class):
    """Programs that count or time turns wrap `_run_once`."""
    turns = []

    def _run_once(self):
        turns.append(1)
        loop_class._run_once(self)

    make(_run_once=_run_once).run_until_complete(asyncio.sleep(0))
    assert turns


def test_subclass_with_init_and_super(loop_class):
    class Mine(loop_class):
        def __init__(self):
            super().__init__()
            self.marker = "set"

        def close(self):
            self.marker = "closed"
            super().close()

    loop = Mine()
    loop.run_until_complete(asyncio.sleep(0))
    assert loop.marker == "set"
    loop.close()
    assert loop.marker == "closed" and loop.is_closed()


def test_subclass_serves_and_connects(make):
    loop = make()

    async def main():
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, protocol = await loop.create_connection(Recorder, *address)
        transport.close()
        await protocol.lost
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
