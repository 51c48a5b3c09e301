"""add_reader and add_writer: readiness, replacing, removing, closed and reused descriptors."""

import asyncio
import gc
import os
import socket
import time
import weakref

import pytest
from support import Boom, Recorder, raising, spin


@pytest.fixture
def pair(cleanup):
    """Two connected non-blocking sockets."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    cleanup.extend((ours, peer))
    return ours, peer


def fill(sock):
    """Write until the socket takes no more."""
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


def test_reader_runs_when_readable(loop, pair):
    ours, peer = pair
    got = []
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    spin(loop)
    assert got == []
    peer.send(b"one")
    spin(loop, turns=1)
    peer.send(b"two")
    spin(loop, turns=1)
    assert got == [b"one", b"two"]
    assert loop.remove_reader(ours)


def test_reader_is_level_triggered(loop, pair):
    ours, peer = pair
    got = []
    peer.send(b"abc")
    loop.add_reader(ours, lambda: got.append(ours.recv(1)))
    spin(loop, turns=5)
    loop.remove_reader(ours)
    assert got == [b"a", b"b", b"c"]


def test_writer_runs_when_writable(loop, pair):
    ours, peer = pair
    ran = []
    fill(ours)
    loop.add_writer(ours, ran.append, 1)
    spin(loop)
    assert ran == []
    while True:
        try:
            peer.recv(65536)
        except BlockingIOError:
            break
    spin(loop, turns=1)
    assert ran == [1]
    assert loop.remove_writer(ours)


def test_both_directions_at_once(loop, pair):
    ours, peer = pair
    ran = []
    peer.send(b"x")
    loop.add_reader(ours, ran.append, "read")
    loop.add_writer(ours, ran.append, "write")
    spin(loop, turns=1)
    assert sorted(ran) == ["read", "write"]
    loop.remove_writer(ours)
    spin(loop, turns=1)
    assert sorted(ran) == ["read", "read", "write"]
    loop.remove_reader(ours)
    spin(loop, turns=1)
    assert len(ran) == 3


def test_two_descriptors_of_one_socket(loop, pair, cleanup):
    ours, peer = pair
    twin = ours.dup()
    cleanup.append(twin)
    ran = []
    peer.send(b"x")
    loop.add_reader(ours, ran.append, "ours")
    loop.add_reader(twin, ran.append, "twin")
    spin(loop, turns=1)
    assert sorted(ran) == ["ours", "twin"]
    loop.remove_reader(ours)
    loop.remove_reader(twin)


def test_numbers_and_file_objects_name_the_same_descriptor(loop, pair):
    ours, peer = pair
    ran = []
    peer.send(b"x")
    loop.add_reader(ours, ran.append, "object")
    loop.add_reader(ours.fileno(), ran.append, "number")
    spin(loop, turns=1)
    assert ran == ["number"]
    assert loop.remove_reader(ours.fileno()) is True
    assert loop.remove_reader(ours) is False


def test_pipes_can_be_watched(loop):
    read_end, write_end = os.pipe()
    got = []
    loop.add_reader(read_end, lambda: (got.append(os.read(read_end, 10)), loop.stop()))
    os.write(write_end, b"x")
    loop.run_forever()
    loop.remove_reader(read_end)
    os.close(read_end)
    os.close(write_end)
    assert got == [b"x"]


def test_replaced_callback(loop, pair):
    ours, peer = pair
    ran = []
    peer.send(b"x")
    for name in ("first", "second"):
        loop.add_reader(ours, ran.append, name)
        loop.add_writer(ours, ran.append, name)
    spin(loop, turns=1)
    assert ran == ["second", "second"]
    loop.remove_reader(ours)
    loop.remove_writer(ours)


def test_replaced_inside_its_own_callback(loop, pair):
    ours, peer = pair
    ran = []

    def first():
        ran.append("first")
        loop.add_reader(ours, ran.append, "second")

    peer.send(b"x")
    loop.add_reader(ours, first)
    spin(loop, turns=2)
    loop.remove_reader(ours)
    assert ran == ["first", "second"]


def test_return_values(loop, pair):
    ours, _ = pair
    assert loop.add_reader(ours, print) is None
    assert loop.add_writer(ours, print) is None
    assert loop.remove_reader(ours) is True
    assert loop.remove_reader(ours) is False
    assert loop.remove_writer(ours) is True
    assert loop.remove_writer(ours) is False


# ── removing ─────────────────────────────────────────────────────────────────────────────────


def test_removed_by_its_own_callback(loop, pair):
    ours, peer = pair
    ran = []
    peer.send(b"x")
    loop.add_reader(ours, lambda: (ran.append(1), loop.remove_reader(ours)))
    spin(loop)
    assert ran == [1]


def test_removed_while_its_callback_is_pending(loop, pair):
    """Both ends are ready in one turn; the first callback removes the other."""
    ours, peer = pair
    ran = []

    def run_one(mine, other):
        ran.append(mine)
        loop.remove_reader(other)

    ours.send(b"x")
    peer.send(b"x")
    loop.add_reader(ours, run_one, ours, peer)
    loop.add_reader(peer, run_one, peer, ours)
    spin(loop)
    assert len(ran) == 1 or len(set(ran)) == 1
    loop.remove_reader(ran[0])


def test_writer_removed_by_the_reader_of_the_same_turn(loop, pair):
    ours, peer = pair
    ran = []
    peer.send(b"x")
    loop.add_writer(ours, ran.append, "write")
    loop.add_reader(ours, lambda: (ran.append("read"), loop.remove_writer(ours)))
    spin(loop, turns=1)
    loop.remove_reader(ours)
    assert ran == ["read"]


def test_removed_by_a_ready_callback_of_the_same_turn(loop, pair):
    ours, peer = pair
    ran = []
    peer.send(b"x")
    loop.call_soon(loop.remove_reader, ours)
    loop.add_reader(ours, ran.append, 1)
    spin(loop)
    assert ran == []


def test_remove_after_the_loop_is_closed(loop, pair):
    ours, _ = pair
    loop.add_reader(ours, print)
    loop.close()
    assert loop.remove_reader(ours) is False
    assert loop.remove_writer(ours) is False


def test_raising_callback_reaches_the_handler_and_stays_watched(loop, pair, errors):
    ours, peer = pair
    peer.send(b"x")
    loop.add_reader(ours, raising())
    spin(loop, turns=2)
    loop.remove_reader(ours)
    contexts = errors.take()
    assert len(contexts) == 2
    assert isinstance(contexts[0]["exception"], Boom)
    assert isinstance(contexts[0]["handle"], asyncio.Handle)


# ── what cannot be watched ───────────────────────────────────────────────────────────────────


def type_name(value):
    return type(value).__name__


class NoFileno:
    pass


class WrongFileno:
    def fileno(self):
        return "text"


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
@pytest.mark.parametrize("target", [-1, "0", None, 1.5, NoFileno(), WrongFileno()], ids=type_name)
def test_invalid_file_objects_are_refused(loop, method, target):
    with pytest.raises(ValueError):
        getattr(loop, method)(target, print)


@pytest.mark.parametrize("method", ["remove_reader", "remove_writer"])
@pytest.mark.parametrize("target", [-1, "0", None, NoFileno()], ids=type_name)
def test_invalid_file_objects_are_refused_on_removal(loop, method, target):
    with pytest.raises(ValueError):
        getattr(loop, method)(target)


def test_a_closed_descriptor_is_refused(loop):
    number = os.dup(0)
    os.close(number)
    with pytest.raises(OSError):
        loop.add_reader(number, print)
    assert loop.remove_reader(number) is False


def test_a_closed_socket_is_refused(loop):
    sock = socket.socket()
    sock.close()
    with pytest.raises(ValueError):
        loop.add_reader(sock, print)


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_removed_after_its_socket_was_closed(loop, direction):
    """The object still names its registration; anyio closes first and removes then."""
    ours, peer = socket.socketpair()
    add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
    with peer:
        add(ours, lambda: None)
        ours.close()
        assert remove(ours) is True
        with pytest.raises(ValueError):
            remove(ours)


def test_a_closed_socket_names_what_it_was_watched_for_alone(loop, pair):
    ours, _ = pair
    closed = socket.socket()
    loop.add_reader(ours, lambda: None)
    closed.close()
    with pytest.raises(ValueError):
        loop.remove_reader(closed)
    assert loop.remove_reader(ours) is True


def test_a_watched_file_stays_alive(loop):
    ours, peer = socket.socketpair()
    fd, alive = ours.fileno(), weakref.ref(ours)
    with peer:
        loop.add_reader(ours, lambda: None)
        loop.add_writer(ours, lambda: None)
        del ours
        gc.collect()
        loop.remove_writer(fd)
        assert alive()
        alive().close()
        loop.remove_reader(fd)
        assert not alive()


def test_a_watched_file_goes_with_its_loop(loop_factory):
    loop = loop_factory()
    ours, peer = socket.socketpair()
    alive = weakref.ref(ours)
    with peer:
        loop.add_reader(ours, loop.stop)
        ours.close()
        del ours
        loop.close()
        del loop
        gc.collect()
        assert not alive()


def test_a_regular_file_is_refused(loop, tmp_path):
    with open(tmp_path / "file", "wb") as file:
        with pytest.raises(PermissionError):
            loop.add_writer(file, print)
        assert loop.remove_writer(file) is False


@pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_the_descriptor_of_a_transport_is_refused(loop, connect, method):
    transport, _, _ = connect()
    args = (print,) if method.startswith("add") else ()
    sock = transport.get_extra_info("socket")
    for target in (sock, sock.fileno()):
        with pytest.raises(RuntimeError, match="is used by transport"):
            getattr(loop, method)(target, *args)


# ── descriptors closed behind the loop's back ────────────────────────────────────────────────


@pytest.mark.asyncio_wrong("the new owner of the number is never reported")
def test_a_number_closed_without_removal_and_reused_works(loop):
    ours, peer = socket.socketpair()
    number = ours.fileno()
    loop.add_reader(ours, raising(AssertionError))
    spin(loop)
    ours.close()
    peer.close()

    ours, peer = socket.socketpair()
    with ours, peer:
        if ours.fileno() != number:
            ours, peer = peer, ours
        assert ours.fileno() == number
        got = []
        loop.add_reader(ours, lambda: got.append(ours.recv(10)))
        peer.send(b"x")
        spin(loop)
        loop.remove_reader(ours)
    assert got == [b"x"]


def test_closed_without_removal_does_not_disturb_others(loop, pair):
    ours, peer = pair
    left, right = socket.socketpair()
    loop.add_reader(left, raising(AssertionError))
    number = left.fileno()
    left.close()
    right.close()
    got = []
    peer.send(b"x")
    loop.add_reader(ours, lambda: got.append(ours.recv(10)))
    spin(loop)
    loop.remove_reader(ours)
    loop.remove_reader(number)
    assert got == [b"x"]


@pytest.mark.asyncio_wrong("the selector is asked to change what is gone")
def test_a_transport_takes_over_a_number_that_was_left_watched(loop, run, cleanup):
    class Watcher:
        def __call__(self):
            raise AssertionError("the file it watched is closed")

    watcher = Watcher()
    alive = weakref.ref(watcher)
    ours, peer = socket.socketpair()
    loop.add_reader(ours, watcher)
    loop.add_writer(ours, watcher)
    number = ours.fileno()
    ours.close()
    again = socket.socket(fileno=os.dup2(peer.fileno(), number, inheritable=False))
    cleanup.extend((peer, again))
    transport, protocol = run(loop.create_connection(Recorder, sock=again))
    del watcher
    gc.collect()
    assert alive() is None
    transport.close()
    run(protocol.lost)


@pytest.mark.asyncio_wrong("a turn is made for every event of the forgotten duplicate")
def test_a_duplicate_left_open_does_not_spin(loop, run):
    """The kernel still reports a closed number whose duplicate lives; the loop must rest."""
    ours, peer = socket.socketpair()
    twin = ours.dup()
    loop.add_reader(ours, print)
    number = ours.fileno()
    ours.close()
    loop.remove_reader(number)
    peer.send(b"x")
    with twin, peer:
        before = time.process_time()
        run(asyncio.sleep(0.5))
        assert time.process_time() - before < 0.05


def test_a_serving_socket_can_be_taken_over(loop, run):
    """Whoever adds a reader to a listening socket accepts instead of the server."""
    accepted = []

    async def main():
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        sock = server.sockets[0]
        fd = sock.fileno()
        ready = loop.create_future()
        loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
        with socket.create_connection(sock.getsockname()):
            await ready
            accepted.append(loop.remove_reader(fd))
        server.close()

    run(main())
    assert accepted == [True]
