"""Exception handlers: when they are called, with what, and what happens when they fail."""

import asyncio
import contextvars
import gc
import logging

import pytest
from support import Boom, raising, since, spin

VAR = contextvars.ContextVar("VAR", default="unset")


def logged(caplog):
    return [r for r in caplog.records if r.name == "asyncio" and r.levelno == logging.ERROR]


@pytest.fixture
def default(loop):
    """A loop without an exception handler of its own."""
    loop.set_exception_handler(None)
    return loop


def test_a_failing_callback_reaches_the_handler(loop, errors):
    handle = loop.call_soon(raising())
    spin(loop)
    context = errors.take_one()
    assert set(context) == {"message", "exception", "handle"}
    assert context["message"].startswith("Exception in callback raising.<locals>.callback")
    assert context["handle"] is handle


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_the_loop_goes_on(loop, errors, method):
    ran = []
    getattr(loop, method)(raising())
    getattr(loop, method)(ran.append, 1)
    spin(loop)
    errors.take_one()
    assert ran == [1]


def test_a_failing_timer_reaches_the_handler(loop, errors):
    timer = loop.call_later(0, raising())
    spin(loop)
    assert errors.take_one()["handle"] is timer


def test_other_base_exceptions_reach_the_handler(loop, errors):
    class Odd(BaseException):
        pass

    loop.call_soon(raising(Odd))
    spin(loop)
    errors.take_one(Odd)


def test_a_cancelled_error_from_a_callback_reaches_the_handler(loop, errors):
    loop.call_soon(raising(asyncio.CancelledError))
    spin(loop)
    errors.take_one(asyncio.CancelledError)


def test_what_cannot_be_called_reaches_the_handler(loop, errors):
    loop.call_soon(None)
    loop.call_later(0, 5)
    spin(loop)
    contexts = errors.take()
    assert [type(context["exception"]) for context in contexts] == [TypeError, TypeError]


def test_handler_gets_the_loop(loop):
    got = []
    loop.set_exception_handler(lambda *args: got.append(args))
    loop.call_exception_handler({"message": "mine"})
    assert got == [(loop, {"message": "mine"})]


def test_get_and_set(loop, errors):
    assert loop.get_exception_handler() is errors
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


@pytest.mark.parametrize("value", [5, "text", object()])
def test_a_handler_that_cannot_be_called_is_refused(loop, value):
    with pytest.raises(TypeError):
        loop.set_exception_handler(value)


# ── the default handler ──────────────────────────────────────────────────────────────────────


def test_the_default_handler_logs(default, caplog):
    default.call_soon(raising())
    spin(default)
    (record,) = logged(caplog)
    assert record.getMessage().startswith("Exception in callback raising.<locals>.callback")
    assert "handle: <Handle raising.<locals>.callback" in record.getMessage()
    assert record.exc_info[0] is Boom


def test_the_default_handler_lists_the_context(default, caplog):
    default.call_exception_handler({"message": "mine", "future": "b", "another": "a"})
    (record,) = logged(caplog)
    assert record.getMessage() == "mine\nanother: 'a'\nfuture: 'b'"


def test_a_context_without_a_message(default, caplog):
    default.call_exception_handler({})
    assert logged(caplog)[0].getMessage().startswith("Unhandled exception in event loop")


def test_a_failing_handler_is_logged(loop, caplog):
    loop.set_exception_handler(raising())
    loop.call_soon(raising(ValueError))
    spin(loop)
    loop.set_exception_handler(None)
    (record,) = logged(caplog)
    assert "Unhandled error in exception handler" in record.getMessage()
    assert record.exc_info[0] is Boom


def test_the_default_handler_can_be_called_from_a_handler(loop, caplog):
    loop.set_exception_handler(lambda loop, context: loop.default_exception_handler(context))
    loop.call_soon(raising())
    spin(loop)
    assert len(logged(caplog)) == 1


# ── tasks and futures ────────────────────────────────────────────────────────────────────────


def test_a_failed_task_nobody_awaited(loop, errors):
    async def fail():
        raise Boom

    task = loop.create_task(fail(), name="lonely")
    spin(loop)
    description = repr(task)
    del task
    gc.collect()
    context = errors.take_one()
    assert context["message"] == "Task exception was never retrieved"
    assert repr(context["future"]) == description


def test_a_failed_future_nobody_awaited(loop, errors):
    future = loop.create_future()
    future.set_exception(Boom())
    del future
    gc.collect()
    assert errors.take_one()["message"] == "Future exception was never retrieved"


def test_a_pending_task_that_is_destroyed(loop, errors):
    async def wait(future):
        await future

    task = loop.create_task(wait(loop.create_future()))
    spin(loop)
    del task
    gc.collect()
    (context,) = errors.take()
    assert context["message"] == "Task was destroyed but it is pending!"
    assert isinstance(context["task"], asyncio.Task)


def test_a_failing_done_callback(loop, errors):
    future = loop.create_future()
    future.add_done_callback(raising())
    future.set_result(None)
    spin(loop)
    errors.take_one()


# ── contexts ─────────────────────────────────────────────────────────────────────────────────


@since(3, 12)
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_the_handler_runs_in_the_context_of_the_handle(loop, method):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(VAR.get()))
    context = contextvars.copy_context()
    context.run(VAR.set, "handle")
    args = (0,) if method == "call_later" else ()
    getattr(loop, method)(*args, raising(), context=context)
    spin(loop)
    assert seen == ["handle"]


@since(3, 12)
def test_the_handler_runs_in_the_context_of_the_task(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(VAR.get()))

    async def fail():
        VAR.set("task")
        raise Boom

    loop.create_task(fail())
    spin(loop)
    gc.collect()
    assert seen == ["task"]


def test_variables_set_before_the_failure_stay_in_the_context(loop, errors):
    context = contextvars.copy_context()

    def fail():
        VAR.set("before")
        raise Boom

    loop.call_soon(fail, context=context)
    spin(loop)
    errors.take_one()
    assert context[VAR] == "before" and VAR.get() == "unset"
