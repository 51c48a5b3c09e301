"""A chat server on asyncio streams: nick names, rooms, and a goodbye when it is stopped.

    python examples/chat_server.py --port 8888
    nc 127.0.0.1 8888

A line is said to everyone in the room, its author included. Lines that begin with a slash are
commands: /nick NAME, /join ROOM, /who, /loop, /help, /quit.
"""

import argparse
import asyncio
import contextlib
import itertools
import signal
from collections import defaultdict
from dataclasses import dataclass

LOBBY = "lobby"
HELP = "/nick NAME, /join ROOM, /who, /loop, /help, /quit"
MAX_BACKLOG = 1 << 20  # bytes a member may lag behind before the connection is dropped


@dataclass(eq=False, slots=True)
class Member:
    """One connection: its name, the room it is in and the way to reach it."""

    nick: str
    writer: asyncio.StreamWriter
    room: str = LOBBY

    def tell(self, line: str) -> None:
        self.send(f"{line}\n".encode())

    def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            return
        self.writer.write(data)
        if self.writer.transport.get_write_buffer_size() > MAX_BACKLOG:
            self.writer.transport.abort()  # one slow reader must not fill the memory


class Chat:
    """The rooms, and what members can do in them."""

    def __init__(self) -> None:
        self.rooms: defaultdict[str, set[Member]] = defaultdict(set)
        self.nicks: set[str] = set()
        self.handlers: set[asyncio.Task[None]] = set()
        self.guests = itertools.count(1)

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Look after one connection from its first byte to its last."""
        handler = asyncio.current_task()
        self.handlers.add(handler)
        member = Member(f"guest{next(self.guests)}", writer)
        self.nicks.add(member.nick)
        self.enter(member, LOBBY)
        try:
            await self.listen(member, reader)
        except (ConnectionError, ValueError):
            pass  # the peer went away without a word, or sent a line beyond the reader's limit
        finally:
            self.leave(member)
            self.nicks.discard(member.nick)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.handlers.discard(handler)

    async def listen(self, member: Member, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            text = line.decode(errors="replace").strip()
            if text == "/quit":
                return
            if text.startswith("/"):
                self.command(member, *text.split(maxsplit=1))
            elif text:
                self.say(member.room, f"{member.nick}: {text}")
            await member.writer.drain()

    def say(self, room: str, line: str) -> None:
        data = f"{line}\n".encode()
        for member in self.rooms[room]:
            member.send(data)

    def command(self, member: Member, name: str, argument: str = "") -> None:
        match name, argument:
            case "/nick", str(nick) if nick:
                self.rename(member, nick)
            case "/join", str(room) if room:
                self.leave(member)
                self.enter(member, room)
            case "/who", _:
                member.tell("* here: " + ", ".join(sorted(m.nick for m in self.rooms[member.room])))
            case "/loop", _:
                member.tell(f"* running on {type(asyncio.get_running_loop()).__module__}")
            case _:
                member.tell(f"* {HELP}")

    def rename(self, member: Member, nick: str) -> None:
        if nick in self.nicks or ":" in nick:
            member.tell(f"* {nick} is not free, you are still {member.nick}")
            return
        self.nicks.remove(member.nick)
        self.nicks.add(nick)
        self.say(member.room, f"* {member.nick} is now {nick}")
        member.nick = nick

    def enter(self, member: Member, room: str) -> None:
        member.room = room
        self.rooms[room].add(member)
        self.say(room, f"* {member.nick} joined {room}")

    def leave(self, member: Member) -> None:
        members = self.rooms[member.room]
        members.discard(member)
        if members:
            self.say(member.room, f"* {member.nick} left {member.room}")
        else:
            del self.rooms[member.room]

    async def close(self) -> None:
        """Say goodbye, hang up on everyone and wait until their handlers have finished."""
        for member in [m for members in self.rooms.values() for m in members]:
            member.tell("* the server is closing, goodbye")
            member.writer.close()
        if self.handlers:
            await asyncio.wait(self.handlers, timeout=5)


async def serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    chat = Chat()
    server = await asyncio.start_server(chat.welcome, host, port)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()
    await chat.close()
    await server.wait_closed()


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0 picks a free one")
    args = parser.parse_args()
    asyncio.run(serve(args.host, args.port))


if __name__ == "__main__":
    main()
