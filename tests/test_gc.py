"""Cycles through the loop, its handles and transports are found by the garbage collector."""

import asyncio
import contextlib
import contextvars
import gc
import socket
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import Recorder, open_fds, spin


class Node:
    """Something that can be part of a cycle and be called."""

    def __call__(self, *args):
        pass


def assert_collected(*references):
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


def test_a_closed_loop_is_freed(loop_factory):
    loop = loop_factory()
    spin(loop)
    loop.close()
    alive = weakref.ref(loop)
    del loop
    assert_collected(alive)


def test_a_loop_caught_in_its_own_callbacks_is_freed(loop_factory):
    loop = loop_factory()
    node = Node()
    node.loop = loop
    loop.node = node
    loop.call_soon(node, loop)
    loop.call_later(3600, node, loop)
    loop.call_soon_threadsafe(node, loop)
    loop.set_exception_handler(node)
    alive = weakref.ref(loop), weakref.ref(node)
    del loop, node
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_collected(*alive)


def test_a_loop_caught_in_its_readers_is_freed(loop_factory, no_leaked_fds):
    loop = loop_factory()
    ours, peer = socket.socketpair()
    node = Node()
    node.loop = loop
    loop.add_reader(ours, node, loop)
    loop.add_writer(ours, node, loop)
    alive = weakref.ref(loop), weakref.ref(node)
    del loop, node
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_collected(*alive)
    ours.close()
    peer.close()


def test_a_loop_with_pending_tasks_is_freed(loop_factory):
    loop = loop_factory()

    async def wait(loop):
        await loop.create_future()

    task = loop.create_task(wait(loop))
    task._log_destroy_pending = False
    spin(loop)
    loop.close()
    alive = weakref.ref(loop), weakref.ref(task)
    del loop, task
    assert_collected(*alive)


def test_a_subclassed_loop_is_freed(loop_class):
    class Mine(loop_class):
        pass

    loop = Mine()
    loop.itself = loop
    loop.close()
    alive = weakref.ref(loop)
    del loop
    assert_collected(alive)


def test_a_class_of_loops_is_freed_with_them(loop_class):
    class Mine(loop_class):
        pass

    loop = Mine()
    loop.call_soon(int).cancel()
    loop.call_later(100, int).cancel()
    loop.close()
    ref = weakref.ref(Mine)
    del loop, Mine
    gc.collect()
    gc.collect()
    assert ref() is None


def test_a_cancelled_handle_in_a_cycle_is_freed(loop):
    node = Node()
    node.handles = loop.call_soon(node), loop.call_later(3600, node)
    for handle in node.handles:
        handle.cancel()
    alive = weakref.ref(node)
    del node, handle
    spin(loop)
    assert_collected(alive)


SCHEDULED = contextvars.ContextVar("scheduled")


def schedule_in_a_cycle(loop, schedule):
    """A node that refers to its handle, which refers to it as callback and by its context."""
    node = Node()
    context = contextvars.copy_context()
    context.run(SCHEDULED.set, node)
    node.handle = schedule(loop, node, context)
    return weakref.ref(node)


WAYS = {
    "call_soon": lambda loop, *job: loop.call_soon(job[0], *job, context=job[1]),
    "call_later": lambda loop, *job: loop.call_later(0, job[0], *job, context=job[1]),
    "threadsafe": lambda loop, *job: loop.call_soon_threadsafe(job[0], *job, context=job[1]),
    "thread": lambda loop, *job: in_a_thread(WAYS["threadsafe"], loop, *job),
}


def in_a_thread(call, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *args).result()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_handle_in_a_cycle_is_freed_when_it_is_over(loop, run, way, cancelled):
    async def main():
        node = schedule_in_a_cycle(loop, WAYS[way])
        if cancelled:
            node().handle.cancel()
        gc.collect()
        await asyncio.sleep(0.002)
        gc.collect()
        assert node() is None

    run(main())


@pytest.mark.parametrize("way", WAYS)
def test_a_handle_that_a_run_left_behind_is_freed_with_the_loop(loop_factory, way):
    loop = loop_factory()
    nodes = []

    def last(loop):
        loop.stop()
        nodes.append(schedule_in_a_cycle(loop, WAYS[way]))
        nodes[0]().loop = loop

    loop.call_soon(last, loop)
    loop.run_forever()
    alive = weakref.ref(loop), *nodes
    assert nodes[0]() is not None
    del loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_collected(*alive)


def test_a_handle_that_an_exception_handler_keeps_is_freed(loop, run):
    kept = []
    loop.set_exception_handler(lambda loop, context: kept.append(context["handle"]))

    class Failing(Node):
        def __call__(self):
            self.handles = kept
            raise ValueError

    node = Failing()
    alive = weakref.ref(node)
    loop.call_soon(node)
    del node
    run(asyncio.sleep(0.001))
    alive().kept = kept[0]
    kept.clear()
    assert_collected(alive)


def test_a_finished_handle_keeps_nothing_of_the_loop(loop):
    node = Node()
    node.handle = loop.call_soon(node, node)
    alive = weakref.ref(node)
    del node
    spin(loop)
    assert_collected(alive)


def test_a_closed_transport_is_freed(loop, connect, run):
    ours, peer = socket.socketpair()
    transport, protocol = run(loop.create_connection(Recorder, sock=ours))
    transport.close()
    run(protocol.lost)
    alive = weakref.ref(transport), weakref.ref(protocol)
    del transport, protocol
    peer.close()
    spin(loop)
    assert_collected(*alive)


def test_a_closed_transport_in_a_cycle_is_freed(loop, run):
    ours, peer = socket.socketpair()
    transport, protocol = run(loop.create_connection(Recorder, sock=ours))
    transport.mine = node = Node()
    node.transport = transport
    transport.abort()
    run(protocol.lost)
    alive = weakref.ref(transport), weakref.ref(protocol), weakref.ref(node)
    del transport, protocol, node
    peer.close()
    assert_collected(*alive)


def test_transports_of_a_forgotten_loop_are_freed(loop_factory, no_leaked_fds):
    loop = loop_factory()
    ours, peer = socket.socketpair()
    transport, protocol = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
    transport.write(bytes(1 << 20))
    alive = weakref.ref(transport), weakref.ref(protocol), weakref.ref(loop)
    loop.close()
    del transport, protocol, loop, ours
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_collected(*alive)
    peer.close()


def test_servers_of_a_forgotten_loop_are_freed(loop_factory, no_leaked_fds):
    loop = loop_factory()
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    alive = weakref.ref(server), weakref.ref(loop)
    loop.close()
    del server, loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert_collected(*alive)


def test_an_open_transport_is_kept_alive_by_the_loop(loop, run):
    ours, peer = socket.socketpair()
    transport, protocol = run(loop.create_connection(Recorder, sock=ours))
    del transport
    gc.collect()
    peer.send(b"still here")
    run(protocol.until_data(10))
    protocol.transport.abort()
    peer.close()


@pytest.mark.parametrize("running", [False, True], ids=["unused", "used"])
def test_many_loops_leak_no_descriptor(loop_factory, no_leaked_fds, running):
    for _ in range(200):
        loop = loop_factory()
        if running:
            loop.call_soon_threadsafe(loop.stop)
            loop.run_forever()
        loop.close()


def test_many_loops_open_at_once(loop_factory, no_leaked_fds):
    before = len(open_fds())
    loops = [loop_factory() for _ in range(30)]
    for loop in loops:
        loop.call_later(0.001, loop.stop)
    for loop in loops:
        loop.run_forever()
    for loop in loops:
        loop.close()
    assert len(open_fds()) == before


def test_collecting_inside_callbacks(loop, run):
    """The collector may look at every structure of the loop while the loop is in use."""

    async def main():
        for _ in range(20):
            loop.call_soon(gc.collect, 0)
            loop.call_later(0, gc.collect, 0)
            await asyncio.sleep(0)

    run(main())


@pytest.mark.oxloop_only  # asyncio takes most of what is refused here
def test_messages_of_errors_are_freed(loop):
    """Outside of a run, where nothing but the refused calls happens."""

    def refused(times):
        for _ in range(times):
            for call in (loop.call_later, loop.call_at):
                with contextlib.suppress(ValueError, TypeError):
                    call(float("nan"), print)
            with contextlib.suppress(AttributeError, TypeError):
                loop.call_soon(print, context=3)
            with contextlib.suppress(ValueError):
                loop.remove_reader("x")

    refused(10)
    before = sys.getallocatedblocks()
    refused(1000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
