"""The client of a server in hot_paths.py: ``hot_paths_peer.py PORT SIZE TALK``.

One connection, one request of SIZE bytes at a time, a line, until the server has enough.
"""

import sys
from contextlib import suppress

from load import connect


def main() -> None:
    port, size, talk = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    request = b"x" * (size - 1) + b"\n"
    with suppress(ConnectionError), connect(port, talk) as sock:
        while True:
            sock.sendall(request)
            left = size
            while left:
                if not (answer := sock.recv(left)):
                    return
                left -= len(answer)


if __name__ == "__main__":
    main()
