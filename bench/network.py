"""What servers are asked: for each scenario the server of echo_server.py and what load.py sends."""

from typing import NamedTuple


class Scenario(NamedTuple):
    """A server, and clients that each have one request in flight."""

    title: str
    server: str
    #: Bytes of a request, cut into lines, each of which counts as an operation.
    request: int
    lines: int = 1
    #: Bytes of the answer to a request; 0 if it is the request itself.
    answer: int = 0
    #: tcp, tls, udp, http (the request is a GET) or bulk (one request, answers without end).
    talk: str = "tcp"
    connections: int = 64


WRITES, PART = 64, 100

SCENARIOS = {
    "protocol_64b": Scenario("protocol, echo of 64 B", "protocol", 64),
    "protocol_16k": Scenario("protocol, echo of 16 KiB", "protocol", 16 * 1024),
    "streams_64b": Scenario("streams, echo of 64 B", "streams", 64),
    "readline_64b": Scenario("streams, readline and answer, 64 B", "readline", 64),
    "lines_16x64b": Scenario(
        "protocol, 16 lines of 64 B, a write each", "lines", 16 * 64, lines=16
    ),
    "many_writes": Scenario(
        f"protocol, {WRITES} writes of {PART} B per request",
        "many_writes",
        64,
        answer=WRITES * PART,
    ),
    "sock_1k": Scenario("sock_recv and sock_sendall, 1 KiB", "sock", 1024),
    "tls_1k": Scenario("protocol over TLS, echo of 1 KiB", "tls", 1024, talk="tls"),
    "datagram_64b": Scenario("datagrams, echo of 64 B", "datagram", 64, talk="udp"),
    "bulk_write": Scenario("256 KiB writes, per MiB", "bulk", 64, talk="bulk", connections=1),
    "uvicorn": Scenario("uvicorn with httptools, 13 B", "uvicorn", 0, talk="http"),
}
