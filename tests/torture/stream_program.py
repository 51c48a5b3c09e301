"""Random programs over asyncio's streams, and what they show when they run on a loop.

A program is a list of steps with everything random in it drawn beforehand, so it runs on any loop
alike. What it shows (results, exceptions with their messages, the state of the reader after each
step) has to be the same on oxloop as on asyncio.
"""

import asyncio
import gc
import socket
import types
from random import Random

from support import spin

SEPARATORS = (b"\n", b"\r\n", b"aa", b"ab", b"\x00")
ERRORS = (ValueError, ConnectionResetError, KeyError)


def draw(random, length):
    """A program."""
    steps = []
    for _ in range(length):
        name = random.choice(STEPS)
        steps.append((name, random.getrandbits(64)))
    return steps


def text(random, most=40):
    return bytes(random.choices(b"ab\r\n\x00", k=random.randrange(most)))


class Sub(asyncio.StreamReader):
    """A class that a reader may be given."""


class Player:
    """Runs a program on one loop and writes down what it sees."""

    def __init__(self, loop, limit, server, watched):
        self.watched = watched
        self.loop, self.trace, self.tasks, self.coroutines, self.kept = loop, [], {}, [], []
        self.count = 0
        # There were two reads at once: where they search for separators is then their own business.
        self.crowded = False
        ours, self.peer = socket.socketpair()
        if server:
            self.reader = asyncio.StreamReader(limit=limit, loop=loop)
            protocol = asyncio.StreamReaderProtocol(self.reader, self.connected, loop=loop)
            opening = loop.connect_accepted_socket(lambda: protocol, ours)
            self.keep = loop.run_until_complete(opening)
        else:
            opening = asyncio.open_connection(sock=ours, limit=limit)
            self.reader, self.writer = loop.run_until_complete(opening)
        self.spin()

    def connected(self, reader, writer):
        self.writer = writer

    def spin(self):
        spin(self.loop, 4)

    def play(self, program):
        for name, seed in program:
            try:
                result = getattr(self, name)(Random(seed))
            except (Exception, GeneratorExit) as exc:
                result = self.show(exc)
            self.trace.append((name, result))
            self.spin()
            self.collect()
            # Looking takes the buffer out of the native state.
            if Random(seed).random() < self.watched:
                self.trace.append(self.state())
        return self.trace

    def end(self):
        for task in self.tasks:
            task.cancel()
        for coroutine in self.coroutines:
            coroutine.close()
        self.spin()
        self.tasks.clear()
        self.coroutines.clear()
        self.peer.close()
        self.writer.close()
        self.spin()
        self.spin()
        self.trace.append(self.state())

    def show(self, value):
        if isinstance(value, BaseException):
            return type(value).__name__, str(value)
        return value

    def collect(self):
        """What has ended meanwhile."""
        for task, name in list(self.tasks.items()):
            if task.done():
                del self.tasks[task]
                if task.cancelled():
                    self.trace.append((name, "cancelled"))
                else:
                    self.trace.append((name, self.show(task.exception() or task.result())))

    def state(self):
        reader = self.reader
        buffer = reader._buffer
        return (
            bytes(buffer) if isinstance(buffer, bytearray) else buffer,
            reader._eof,
            reader._paused,
            reader._waiter is not None,
            self.show(reader.exception()),
            reader.at_eof(),
            reader._limit,
            len(self.tasks),
            isinstance(reader, Sub),
            self.writer.is_closing(),
        )

    def gives_back(self, random, chance):
        """Whether to do something that takes the reader back to asyncio: a read that waits begins
        its search again."""
        reading = bool(self.tasks or self.coroutines)
        return random.random() < chance and not (self.crowded and reading)

    def method(self, random):
        reader = self.reader
        self.crowded = self.crowded or bool(self.tasks or self.coroutines)
        return random.choice(
            (
                lambda: reader.read(random.choice((-1, 0, 1, 5, 1000, True))),
                lambda: reader.read(random.randrange(1, 20)),
                lambda: reader.readline(),
                lambda: reader.readuntil(),
                lambda: reader.readuntil(random.choice(SEPARATORS)),
                lambda: reader.readuntil(separator=random.choice(SEPARATORS)),
                lambda: reader.readexactly(random.choice((0, 1, 3, 10, 50, -1))),
                lambda: reader.readexactly(n=random.randrange(9)),
                lambda: reader.__anext__(),
                lambda: self.writer.drain(),
            )
        )()

    # steps

    def receive(self, random):
        try:
            self.peer.send(text(random))
        except OSError as exc:
            return type(exc).__name__

    receive_more = receive_again = receive

    def receive_much(self, random):
        try:
            self.peer.send(b"b" * random.choice((100, 300, 5000)))
        except OSError as exc:
            return type(exc).__name__

    def start(self, random):
        self.count += 1
        self.tasks[self.loop.create_task(self.method(random))] = self.count

    start_more = start

    def start_wrapped(self, random):
        method = self.method(random)

        async def wrapped():
            return await method

        self.count += 1
        self.tasks[self.loop.create_task(wrapped())] = self.count

    def cancel(self, random):
        for task in self.tasks:
            if random.random() < 0.7:
                task.cancel(random.choice((None, "why")))

    def cancel_with_data(self, random):
        """Both in the same turn."""
        if random.random() < 0.5:
            self.receive(random)
            self.loop.call_soon(self.cancel, random)
        else:
            self.cancel(random)
            self.receive(random)

    def feed(self, random):
        self.reader.feed_data(text(random))

    def feed_other(self, random):
        if self.gives_back(random, 1):
            self.reader.feed_data(random.choice((bytearray, memoryview))(text(random) or b"a"))

    def take_buffer(self, random):
        self.kept.append(self.reader._buffer)

    def drop_buffer(self, random):
        self.kept.clear()

    def change_buffer(self, random):
        for buffer in self.kept[:1]:
            if random.random() < 0.5:
                buffer += text(random)
            else:
                del buffer[: random.randrange(10)]

    def view_buffer(self, random):
        self.kept.append(memoryview(self.reader._buffer))
        self.kept.clear()

    def set_buffer(self, random):
        self.reader._buffer = bytearray(text(random))

    def set_limit(self, random):
        limit = random.choice((1, 10, 50, 1000))
        # Not under a search that waits: at the end of the stream it begins again, and looks anew.
        if not (self.tasks or self.coroutines):
            self.reader._limit = limit

    def set_exception(self, random):
        if random.random() < 0.1:
            self.reader.set_exception(random.choice(ERRORS)("set"))

    def forget_exception(self, random):
        self.reader._exception = None

    def hand(self, random):
        """A coroutine driven by hand, in all its states."""
        self.coroutines.append(self.method(random))

    def hand_send(self, random):
        return self.drive(random, lambda coroutine: coroutine.send(None))

    hand_send_more = hand_send

    def hand_throw(self, random):
        error = random.choice((*ERRORS, GeneratorExit))
        thrown = random.choice((error, error("thrown")))
        return self.drive(random, lambda coroutine: coroutine.throw(thrown))

    def hand_close(self, random):
        return self.drive(random, lambda coroutine: coroutine.close())

    def drive(self, random, how):
        if not self.coroutines:
            return None
        at = random.randrange(len(self.coroutines))
        try:
            how(self.coroutines[at])
            return "waits"
        except StopIteration as exc:
            return "returned", exc.value
        except asyncio.CancelledError:
            return "cancelled"

    def hand_forget(self, random):
        while self.coroutines:
            self.coroutines.pop().close()
        gc.collect()

    def override(self, random):
        if self.gives_back(random, 0.15):
            stock = asyncio.StreamReader.feed_data
            self.reader.feed_data = types.MethodType(stock, self.reader)

    def wrap(self, random):
        if self.gives_back(random, 0.15):
            name = random.choice(("feed_data", "readline", "read", "readuntil", "readexactly"))
            taken = getattr(self.reader, name)
            setattr(self.reader, name, lambda *args, **named: taken(*args, **named))

    def wrap_drain(self, random):
        if random.random() < 0.1:
            taken = self.writer.drain
            self.writer.drain = lambda: taken()

    def unwrap(self, random):
        if self.crowded:
            return
        for name in ("feed_data", "readline", "read", "readuntil", "readexactly"):
            vars(self.reader).pop(name, None)

    def override_protocol(self, random):
        if random.random() < 0.1:
            protocol = self.writer._protocol
            protocol.data_received = types.MethodType(type(protocol).data_received, protocol)

    def change_class(self, random):
        if self.gives_back(random, 0.15):
            self.reader.__class__ = Sub

    def change_back(self, random):
        if isinstance(self.reader, Sub):
            self.reader.__class__ = asyncio.StreamReader

    def patch_class(self, random):
        """A patch that comes and goes while the reader is in whatever state."""
        if self.gives_back(random, 0.15):
            stock = asyncio.StreamReader.feed_eof
            asyncio.StreamReader.feed_eof = lambda reader: stock(reader)
            try:
                return self.state()
            finally:
                asyncio.StreamReader.feed_eof = stock

    def pause(self, random):
        self.writer.transport.pause_reading()

    def resume(self, random):
        self.writer.transport.resume_reading()

    def half_close(self, random):
        if random.random() < 0.1:
            try:
                self.peer.shutdown(socket.SHUT_WR)
            except OSError as exc:
                return type(exc).__name__

    def write(self, random):
        self.writer.write(text(random))

    def close_writer(self, random):
        if random.random() < 0.05:
            self.writer.close()

    def new_protocol(self, random):
        if random.random() < 0.1:
            reader = asyncio.StreamReader(limit=50, loop=self.loop)
            self.kept.append((self.reader, reader))
            protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
            self.writer.transport.set_protocol(protocol)

    def same_protocol(self, random):
        self.writer.transport.set_protocol(self.writer._protocol)


STEPS = [
    name
    for name in vars(Player)
    if not name.startswith("_")
    and name
    not in (
        "connected",
        "spin",
        "play",
        "end",
        "show",
        "collect",
        "state",
        "gives_back",
        "method",
        "drive",
    )
]
