"""Wrong types, values and states: the loop raises what asyncio raises."""

import asyncio
import os
import socket

import pytest

# Each case is one call; asyncio's own answer to it is the expectation.
LOOP_CALLS = {
    "call_soon()": lambda loop: loop.call_soon(),
    "call_soon(keyword)": lambda loop: loop.call_soon(print, wrong=1),
    "call_later()": lambda loop: loop.call_later(),
    "call_later(1)": lambda loop: loop.call_later(1),
    "call_later(text)": lambda loop: loop.call_later("1", print),
    "call_later(None)": lambda loop: loop.call_later(None, print),
    "call_later(huge)": lambda loop: loop.call_later(10**400, print),
    "call_at()": lambda loop: loop.call_at(),
    "call_at(None)": lambda loop: loop.call_at(None, print),
    "call_soon_threadsafe()": lambda loop: loop.call_soon_threadsafe(),
    "add_reader()": lambda loop: loop.add_reader(),
    "add_reader(0)": lambda loop: loop.add_reader(0),
    "add_reader(None)": lambda loop: loop.add_reader(None, print),
    "add_reader(text)": lambda loop: loop.add_reader("x", print),
    "add_reader(-1)": lambda loop: loop.add_reader(-1, print),
    "add_reader(closed)": lambda loop: loop.add_reader(10_000, print),
    "add_reader(folder)": lambda loop: with_folder(lambda fd: loop.add_reader(fd, print)),
    "add_writer(None)": lambda loop: loop.add_writer(None, print),
    "add_writer(-1)": lambda loop: loop.add_writer(-1, print),
    "remove_reader(None)": lambda loop: loop.remove_reader(None),
    "remove_reader(-1)": lambda loop: loop.remove_reader(-1),
    "remove_reader(closed)": lambda loop: loop.remove_reader(10_000),
    "remove_writer(text)": lambda loop: loop.remove_writer("x"),
    "run_until_complete()": lambda loop: loop.run_until_complete(),
    "run_until_complete(None)": lambda loop: loop.run_until_complete(None),
    "run_until_complete(5)": lambda loop: loop.run_until_complete(5),
    "set_debug()": lambda loop: loop.set_debug(),
    "create_task(None)": lambda loop: loop.create_task(None),
    "create_task(5)": lambda loop: loop.create_task(5),
    "create_task()": lambda loop: loop.create_task(),
    "set_task_factory(5)": lambda loop: loop.set_task_factory(5),
    "set_exception_handler(5)": lambda loop: loop.set_exception_handler(5),
    "set_default_executor(None)": lambda loop: loop.set_default_executor(None),
    "add_signal_handler(text)": lambda loop: loop.add_signal_handler("INT", print),
    "add_signal_handler(0)": lambda loop: loop.add_signal_handler(0, print),
    "add_signal_handler(9)": lambda loop: loop.add_signal_handler(9, print),
    "remove_signal_handler(text)": lambda loop: loop.remove_signal_handler("INT"),
    "remove_signal_handler(10)": lambda loop: loop.remove_signal_handler(10),
    "remove_signal_handler(9)": lambda loop: loop.remove_signal_handler(9),
    "stop(5)": lambda loop: loop.stop(5),
    "time(5)": lambda loop: loop.time(5),
}

COROUTINES = {
    "create_connection()": lambda loop: loop.create_connection(asyncio.Protocol),
    "create_connection(port text)": lambda loop: loop.create_connection(
        asyncio.Protocol, "127.0.0.1", "no-such-port"
    ),
    "create_connection(port huge)": lambda loop: loop.create_connection(
        asyncio.Protocol, "127.0.0.1", 70_000
    ),
    "create_connection(port negative)": lambda loop: loop.create_connection(
        asyncio.Protocol, "127.0.0.1", -1
    ),
    "create_connection(host 5)": lambda loop: loop.create_connection(asyncio.Protocol, 5, 1),
    "create_connection(NUL)": lambda loop: loop.create_connection(asyncio.Protocol, "a\0b", 1),
    "create_connection(ssl no hostname)": lambda loop: loop.create_connection(
        asyncio.Protocol, None, None, ssl=True
    ),
    "create_connection(happy, sock)": lambda loop: loop.create_connection(asyncio.Protocol, sock=5),
    "create_server()": lambda loop: loop.create_server(asyncio.Protocol),
    "create_server(port text)": lambda loop: loop.create_server(
        asyncio.Protocol, "127.0.0.1", "no-such-port"
    ),
    "create_server(port huge)": lambda loop: loop.create_server(
        asyncio.Protocol, "127.0.0.1", 70_000
    ),
    "create_server(foreign host)": lambda loop: loop.create_server(
        asyncio.Protocol, "192.0.2.1", 0
    ),
    "create_server(backlog text)": lambda loop: loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, backlog="x"
    ),
    "create_datagram_endpoint()": lambda loop: loop.create_datagram_endpoint(
        asyncio.DatagramProtocol
    ),
    "create_unix_connection()": lambda loop: loop.create_unix_connection(asyncio.Protocol),
    "create_unix_connection(5)": lambda loop: loop.create_unix_connection(asyncio.Protocol, 5),
    "create_unix_server(5)": lambda loop: loop.create_unix_server(asyncio.Protocol, 5),
    "create_unix_server(NUL)": lambda loop: loop.create_unix_server(asyncio.Protocol, "a\0b"),
    "sock_recv(None)": lambda loop: loop.sock_recv(None, 1),
    "sock_sendall(None)": lambda loop: loop.sock_sendall(None, b"x"),
    "sock_connect(None)": lambda loop: loop.sock_connect(None, ("127.0.0.1", 1)),
    "sock_accept(None)": lambda loop: loop.sock_accept(None),
    "sock_recv(text)": lambda loop: with_sockets(lambda sock: loop.sock_recv(sock, "x")),
    "sock_recv(-1)": lambda loop: with_sockets(lambda sock: loop.sock_recv(sock, -1)),
    "sock_recv_into(bytes)": lambda loop: with_sockets(
        lambda sock: loop.sock_recv_into(sock, b"read only")
    ),
    "sock_sendall(text)": lambda loop: with_sockets(lambda sock: loop.sock_sendall(sock, "text")),
    "sock_sendall(5)": lambda loop: with_sockets(lambda sock: loop.sock_sendall(sock, 5)),
    "sock_accept(not listening)": lambda loop: with_sockets(loop.sock_accept),
    "sock_connect(text)": lambda loop: with_sockets(lambda sock: loop.sock_connect(sock, 5)),
    "sock_sendto(connected)": lambda loop: with_sockets(
        lambda sock: loop.sock_sendto(sock, b"x", 5)
    ),
    "getaddrinfo(5)": lambda loop: loop.getaddrinfo(5, 5),
    "getnameinfo(5)": lambda loop: loop.getnameinfo(5),
    "connect_accepted_socket(5)": lambda loop: loop.connect_accepted_socket(asyncio.Protocol, 5),
    "subprocess_exec(5)": lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, 5),
    "subprocess_shell(5)": lambda loop: loop.subprocess_shell(asyncio.SubprocessProtocol, 5),
    "start_tls(None)": lambda loop: loop.start_tls(None, None, None),
    "sendfile(None)": lambda loop: loop.sendfile(None, None),
    "shutdown_default_executor(text)": lambda loop: loop.shutdown_default_executor(5, 5, 5),
}

TRANSPORT_CALLS = {
    "write()": lambda transport: transport.write(),
    "write(text)": lambda transport: transport.write("x"),
    "write(None)": lambda transport: transport.write(None),
    "write(5)": lambda transport: transport.write(5),
    "write(list)": lambda transport: transport.write([b"x"]),
    "writelines(5)": lambda transport: transport.writelines(5),
    "writelines([5])": lambda transport: transport.writelines([5]),
    "writelines([text])": lambda transport: transport.writelines(["x"]),
    "limits(text)": lambda transport: transport.set_write_buffer_limits("x"),
    "limits(-1)": lambda transport: transport.set_write_buffer_limits(-1),
    "limits(1, 2)": lambda transport: transport.set_write_buffer_limits(1, 2),
    "get_extra_info()": lambda transport: transport.get_extra_info(),
    "close(5)": lambda transport: transport.close(5),
    "abort(5)": lambda transport: transport.abort(5),
    "pause_reading(5)": lambda transport: transport.pause_reading(5),
    "write after EOF": lambda transport: (transport.write_eof(), transport.write(b"x")),
    "writelines after EOF": lambda transport: (transport.write_eof(), transport.writelines([b"x"])),
    "write empty after EOF": lambda transport: (transport.write_eof(), transport.write(b"")),
    "resume unpaused": lambda transport: transport.resume_reading(),
    "pause twice": lambda transport: (transport.pause_reading(), transport.pause_reading()),
    "pause closed": lambda transport: (transport.close(), transport.pause_reading()),
    "write_eof closed": lambda transport: (transport.close(), transport.write_eof()),
    "write closed": lambda transport: (transport.close(), transport.write(b"x")),
    "write text closed": lambda transport: (transport.close(), transport.write("x")),
}


def with_folder(function):
    number = os.open("/", os.O_RDONLY)
    try:
        return function(number)
    finally:
        os.close(number)


async def with_sockets(function):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    with ours, peer:
        return await function(ours)


def outcome(function, *args):
    """The class of what is raised, or None."""
    try:
        function(*args)
    except Exception as exc:
        return type(exc)


@pytest.fixture
def reference():
    """asyncio's own loop, to ask what it does."""
    loop = asyncio.SelectorEventLoop()
    loop.set_exception_handler(lambda loop, context: None)
    yield loop
    loop.close()


@pytest.mark.parametrize("case", LOOP_CALLS)
def test_loop_methods(loop, reference, errors, case):
    expected = outcome(LOOP_CALLS[case], reference)
    assert outcome(LOOP_CALLS[case], loop) is expected
    loop.close()
    errors.take()


@pytest.mark.parametrize("case", COROUTINES)
def test_coroutines(loop, reference, case):
    def call(loop):
        async def main():
            await COROUTINES[case](loop)

        loop.run_until_complete(asyncio.wait_for(main(), 20))

    expected = outcome(call, reference)
    assert expected is not None, "asyncio takes it"
    assert outcome(call, loop) is expected


@pytest.mark.parametrize("case", TRANSPORT_CALLS)
def test_transport_methods(loop, reference, errors, case):
    def call(loop):
        ours, peer = socket.socketpair()
        opening = loop.create_connection(asyncio.Protocol, sock=ours)
        transport, _ = loop.run_until_complete(opening)
        try:
            TRANSPORT_CALLS[case](transport)
        finally:
            transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
            peer.close()

    assert outcome(call, loop) is outcome(call, reference)
    errors.take()
