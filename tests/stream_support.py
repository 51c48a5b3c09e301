"""A connection whose reader the tests look at."""

import asyncio

from support import eventually


class Peers:
    """A connection: what is sent by `far` arrives at `reader`."""

    async def open(self, limit=2**16):
        made = asyncio.get_running_loop().create_future()

        def connected(reader, writer):
            self.reader, self.writer = reader, writer
            made.set_result(None)

        self.server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=limit)
        address = self.server.sockets[0].getsockname()
        self.far_reader, self.far = await asyncio.open_connection(*address)
        await made
        return self

    async def send(self, *pieces):
        """What arrives in this many pieces, unless the reader pauses."""
        for piece in pieces:
            before = len(self.reader._buffer)
            self.far.write(piece)
            # Awaited in this round of the loop: the lambda sees this round's names.
            await eventually(lambda: len(self.reader._buffer) == before + len(piece))  # noqa: B023

    async def end(self, *pieces):
        await self.send(*pieces)
        self.far.write_eof()
        await eventually(lambda: self.reader._eof)

    async def waiting(self, coro):
        """A task that waits for data in *coro*."""
        task = asyncio.ensure_future(coro)
        await eventually(lambda: self.reader._waiter is not None or task.done())
        return task

    async def close(self):
        for writer in (self.writer, self.far):
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        self.server.close()
        await self.server.wait_closed()
