"""C Tasks and Futures: what they pass to the loop, and what the loop asks of them."""

import inspect
from asyncio import Future, Task, base_events, events, futures, tasks

TASKS = tasks
FUTURES = futures
set_result_unless_cancelled = futures._set_result_unless_cancelled
base_create_task = base_events.BaseEventLoop.create_task

#: 3.13.3: create_task hands its keywords to the task factory, and to Task.
FACTORIES_TAKE_KEYWORDS = "kwargs" in inspect.signature(base_create_task).parameters
#: 3.12: makes ``Task(coro, loop=loop, eager_start=True)``.
EAGER_TASK_FACTORY = getattr(tasks, "eager_task_factory", None)


class Recorder:
    """Just enough of a loop to see what a Task passes to ``call_soon``."""

    def __init__(self):
        self.callbacks = []

    def call_soon(self, callback, *args, context=None):
        self.callbacks.append(callback)

    def get_debug(self):
        return False


def _task_callbacks():
    """The type of a C Task's step, and the C function that wakes one.

    ``call_soon`` gets them from ``_asyncio``, which drops the handle it returns, so none has to be
    made. ``(None, None)`` with a Task that is not C's or a release that does it otherwise.
    """
    recorder = Recorder()
    future = Future(loop=recorder)

    async def wait():
        await future

    coro = wait()
    task = Task(coro, loop=recorder)
    task._log_destroy_pending = False
    # Since 3.14 a Task is stepped by its running loop alone.
    events._set_running_loop(recorder)
    try:
        step = recorder.callbacks[0]
        step()
        wakeup = future._callbacks[0][0]
        builtin = type(len)
        if type(step).__module__ in ("builtins", "_asyncio") and type(wakeup) is builtin:
            return type(step), wakeup
    except Exception:
        return None, None
    finally:
        events._set_running_loop(None)
        coro.close()
    return None, None


if events._get_running_loop() is None:
    TASK_STEP_TYPE, TASK_WAKEUP = _task_callbacks()
else:
    # Imported inside a Task, which cannot step another: done without, a little slower.
    TASK_STEP_TYPE = TASK_WAKEUP = None
