"""The listener survives running out of descriptors: no spin, no loss, recovery."""

from support import run_child

LIMIT = """
import resource, socket
import concurrent.futures.thread

def leave_only(sock):
    # No descriptor above this one can be opened.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 1, hard))
"""

OUT_OF_DESCRIPTORS = """
import time

class Accepted(asyncio.Protocol):
    count = 0

    def connection_made(self, transport):
        Accepted.count += 1
        self.transport = transport

reports = []

async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    await asyncio.sleep(0.001)
    address = server.sockets[0].getsockname()
    clients = [socket.socket() for _ in range(4)]
    spare = [socket.socket() for _ in range(200)]
    leave_only(max(spare, key=socket.socket.fileno))
    for client in clients:
        client.connect(address)

    while not reports:
        await asyncio.sleep(0.001)
    used = time.process_time()
    await asyncio.sleep(0.3)
    used = time.process_time() - used
    assert Accepted.count == 0, Accepted.count
    assert used < 0.1, f"spinning: {used} s"

    for sock in spare:
        sock.close()
    while Accepted.count < len(clients):
        await asyncio.sleep(0.01)
    late = socket.create_connection(address)
    while Accepted.count < len(clients) + 1:
        await asyncio.sleep(0.01)
    for sock in (*clients, late):
        sock.close()
    server.close()

loop = new_event_loop()
loop.run_until_complete(main())
loop.close()
first = reports[0]
assert first["message"] == "socket.accept() out of system resource", first
assert first["exception"].errno == 24, first
assert isinstance(first["socket"], asyncio.trsock.TransportSocket), first
print("reports", len(reports))
"""


def test_running_out_of_descriptors(loop_kind):
    child = run_child(loop_kind, LIMIT + OUT_OF_DESCRIPTORS)
    assert child.returncode == 0, child.stderr
    word, count = child.stdout.split()
    assert word == "reports"
    if loop_kind == "oxloop":
        assert int(count) == 1, "one report per episode"


NONE_LEFT_FROM_THE_FIRST_TURN = """
async def main():
    sock = socket.socket()
    leave_only(sock)
    await asyncio.sleep(0.001)
    assert await asyncio.to_thread(str, 7) == "7"
    sock.close()

loop = new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


def test_a_loop_needs_no_further_descriptor_to_run(loop_kind):
    child = run_child(loop_kind, LIMIT + NONE_LEFT_FROM_THE_FIRST_TURN)
    assert child.returncode == 0, child.stderr
