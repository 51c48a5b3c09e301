"""Cycles through the loop, its handles and transports are found by the garbage collector."""

import asyncio
import gc
import socket
import warnings
import weakref

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


def test_a_cancelled_handle_in_a_cycle_is_freed(loop):
    node = Node()
    node.handles = loop.call_soon(node), loop.call_later(3600, node)
    for handle in node.handles:
        handle.cancel()
    alive = weakref.ref(node)
    del node, handle
    spin(loop)
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
