"""What a type checker makes of the public names: `mypy --strict` reads this, nothing runs it."""

import asyncio
from types import ModuleType

import oxloop


async def answer() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, oxloop.EventLoop)
    handle: asyncio.TimerHandle = loop.call_later(0, print, "soon")
    handle.cancel()
    return 42


def numbers() -> int:
    return oxloop.run(answer(), debug=True)


def with_a_runner() -> int:
    with asyncio.Runner(loop_factory=oxloop.new_event_loop) as runner:
        return runner.run(answer())


class Loop(oxloop.EventLoop):
    def time(self) -> float:
        return super().time() + 1


def lost(exc: Exception | None) -> bool:
    return isinstance(exc, oxloop.TruncatedError) and isinstance(exc, ConnectionResetError)


version: str = oxloop.__version__
stand_in: ModuleType = oxloop.as_uvloop()
factory: type[asyncio.AbstractEventLoop] = oxloop.EventLoop
