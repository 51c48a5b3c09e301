"""Members of `chat_server.py`: four rooms of eight, all talking at once.

Everyone says one line, and the next one as soon as the lines of all eight have been heard. While
the clocks run the lines are only counted; `finish` then checks that each member heard each line
exactly once, and all members of a room the same lines in the same order.
"""

import selectors
import socket
import time

from load.meter import HOST, PATIENCE, Mismatch, main

ROOMS = 4
MEMBERS = 8


def line(turn: int) -> bytes:
    """What everyone says in one turn."""
    return b"%d did you see the second half of the game?" % turn


class Member:
    """One connection: its name, its turn and all it has heard."""

    def __init__(self, port: int, nick: str) -> None:
        self.sock = socket.create_connection((HOST, port), PATIENCE)
        self.nick = nick
        self.turn = 0
        self.missing = 0  # lines not heard yet; below 0 when others are a turn ahead
        self.heard: list[bytes] = []
        self.unread = b""

    def send(self, *lines: bytes) -> None:
        self.sock.sendall(b"".join(line + b"\n" for line in lines))

    def receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise Mismatch(f"the server hung up on {self.nick}")
        return data

    def read_line(self) -> bytes:
        while b"\n" not in self.unread:
            self.unread += self.receive()
        first, _, self.unread = self.unread.partition(b"\n")
        return first

    def read_until(self, beginning: bytes) -> bytes:
        """Skip lines up to the one that begins so."""
        while not (found := self.read_line()).startswith(beginning):
            pass
        return found

    def talk(self) -> None:
        self.missing += MEMBERS
        self.send(line(self.turn))
        self.turn += 1

    def listen(self) -> int:
        """Take in what has arrived; returns the number of lines."""
        data = self.receive()
        self.heard.append(data)
        count = data.count(b"\n")
        self.missing -= count
        if self.missing <= -MEMBERS:
            raise Mismatch(f"{self.nick} heard more lines than were said: {data[-120:]!r}")
        return count


class Room:
    """Members who hear each other."""

    def __init__(self, port: int, name: str) -> None:
        self.members: list[Member] = []
        self.last_turn: int | None = None  # set when it is time to stop
        for number in range(MEMBERS):
            self.join(Member(port, f"{name}-{number}"), name)

    def join(self, member: Member, name: str) -> None:
        """Let one in, and make sure that all the others are told."""
        member.send(f"/nick {member.nick}".encode(), f"/join {name}".encode())
        notice = f"* {member.nick} joined {name}".encode()
        member.read_until(notice)
        for other in self.members:
            if (told := other.read_line()) != notice:
                raise Mismatch(f"{other.nick} should hear {notice!r}, not {told!r}")
        self.members.append(member)

    def start(self) -> None:
        self.last_turn = None
        for member in self.members:
            member.talk()

    def stop(self) -> None:
        """Let everyone catch up with the fastest, or somebody would wait for ever."""
        self.last_turn = max(member.turn for member in self.members)

    def goes_on(self, member: Member) -> bool:
        return self.last_turn is None or member.turn < self.last_turn

    def is_silent(self) -> bool:
        return not any(member.missing for member in self.members)

    def check(self) -> None:
        transcripts = [b"".join(member.heard) for member in self.members]
        for member, transcript in zip(self.members, transcripts, strict=True):
            if member is self.members[0] or transcript != transcripts[0]:
                self.check_transcript(member, transcript)
                if transcript != transcripts[0]:
                    raise Mismatch(f"{member.nick} heard the lines in another order than others")

    def check_transcript(self, member: Member, transcript: bytes) -> None:
        """Every line of every member exactly once, in the order in which it was said."""
        turns = {other.nick.encode(): 0 for other in self.members}
        for said in transcript.splitlines():
            nick, _, text = said.partition(b": ")
            turn = turns.get(nick)
            if turn is None or text != line(turn):
                raise Mismatch(f"{member.nick} heard {said!r} when it was turn {turn} of {nick!r}")
            turns[nick] = turn + 1
        if any(turns[other.nick.encode()] != other.turn for other in self.members):
            raise Mismatch(f"{member.nick} missed lines: heard {turns}")


class ChatLoad:
    """All rooms, served by one selector."""

    def __init__(self, port: int) -> None:
        self.loop = ask_loop(port)
        self.selector = selectors.DefaultSelector()
        self.rooms = [Room(port, f"room{number}") for number in range(ROOMS)]
        for room in self.rooms:
            for member in room.members:
                self.selector.register(member.sock, selectors.EVENT_READ, (room, member))

    def run(self, seconds: float) -> int:
        delivered = 0
        for room in self.rooms:
            room.start()
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            delivered += self.listen()
        for room in self.rooms:
            room.stop()
        while not all(room.is_silent() for room in self.rooms):
            delivered += self.listen()
        return delivered

    def listen(self) -> int:
        """Let those talk who have heard everyone; returns the number of lines that arrived."""
        events = self.selector.select(PATIENCE)
        if not events:
            self.check()
            raise Mismatch(f"everyone waits for lines for {PATIENCE} s")
        delivered = 0
        for key, _ in events:
            room, member = key.data
            delivered += member.listen()
            if member.missing <= 0 and room.goes_on(member):
                member.talk()
        return delivered

    def check(self) -> None:
        for room in self.rooms:
            room.check()

    def finish(self) -> None:
        """Compare what everyone heard, leave, and hear nothing but goodbyes."""
        self.check()
        for room in self.rooms:
            for member in room.members:
                member.send(b"/quit")
                rest = b"".join(iter(lambda sock=member.sock: sock.recv(65536), b""))
                if not all(said.startswith(b"* ") for said in rest.splitlines()):
                    raise Mismatch(f"{member.nick} heard a line too late: {rest[:120]!r}")
                member.sock.close()
        self.selector.close()


def ask_loop(port: int) -> str:
    """The module of the loop that serves the chat; asked by a guest who hangs up without /quit."""
    guest = Member(port, "guest")
    guest.send(b"/loop")
    answer = guest.read_until(b"* running on ")
    guest.sock.close()
    return answer.decode().removeprefix("* running on ")


if __name__ == "__main__":
    main(ChatLoad)
