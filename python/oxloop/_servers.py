"""``Servers``: making a server is asyncio's; a server that nobody gets is closed."""

import functools

from ._hooks import SelectorEventLoop


class Servers:
    """asyncio's coroutines, which leave a server serving when they are cancelled at their end."""

    @functools.wraps(SelectorEventLoop.create_server)
    async def create_server(self, *args, start_serving=True, **kwargs):
        server = await super().create_server(*args, start_serving=False, **kwargs)
        return await _started(server) if start_serving else server

    @functools.wraps(SelectorEventLoop.create_unix_server)
    async def create_unix_server(self, *args, start_serving=True, **kwargs):
        server = await super().create_unix_server(*args, start_serving=False, **kwargs)
        return await _started(server) if start_serving else server


async def _started(server):
    try:
        await server.start_serving()
    except BaseException:
        server.close()
        raise
    return server
