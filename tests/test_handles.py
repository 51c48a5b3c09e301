"""Handles are asyncio's handles: type, repr, order, contexts, cancellation, lifetime."""

import asyncio
import contextvars
import gc
import weakref

import pytest
from support import since, spin

VAR = contextvars.ContextVar("VAR", default="unset")


def callback(*args):
    pass


class Callback:
    """A callback whose lifetime can be watched."""

    def __call__(self, *args):
        pass


def test_call_soon_gives_a_handle(loop):
    handle = loop.call_soon(callback)
    assert isinstance(handle, asyncio.Handle)
    assert not isinstance(handle, asyncio.TimerHandle)
    assert isinstance(loop.call_soon_threadsafe(callback), asyncio.Handle)


@pytest.mark.parametrize("delay", [0, -1, 5, 0.5])
def test_call_later_gives_a_timer_handle(loop, delay):
    handle = loop.call_later(delay, callback)
    assert isinstance(handle, asyncio.TimerHandle)
    assert handle.when() == pytest.approx(loop.time() + delay, abs=5)


def test_call_at_keeps_its_deadline(loop):
    when = loop.time() + 1.25
    assert loop.call_at(when, callback).when() == when


def test_repr_is_asyncios(loop):
    assert repr(loop.call_soon(callback, 1)) == repr(asyncio.Handle(callback, (1,), loop))
    timer = asyncio.TimerHandle(7e9, callback, (1,), loop)
    assert repr(loop.call_at(7e9, callback, 1)) == repr(timer)


def test_repr_when_cancelled(loop):
    handle = loop.call_soon(callback)
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"
    timer = loop.call_at(7e9, callback)
    timer.cancel()
    assert repr(timer) == "<TimerHandle cancelled when=7000000000.0>"


def test_private_names_others_read(loop):
    handle = loop.call_soon(callback, 1, 2)
    assert handle._callback is callback
    assert tuple(handle._args) == (1, 2)
    assert handle._loop is loop
    assert handle._cancelled is False
    assert handle._source_traceback is None
    assert isinstance(handle._context, contextvars.Context)


def test_run_calls_the_callback_directly(loop):
    ran = []
    handle = loop.call_later(3600, ran.append, 1)
    handle._run()
    assert ran == [1]
    handle.cancel()


def test_timers_compare_by_deadline(loop):
    early, late = loop.call_at(7e9, callback), loop.call_at(8e9, callback)
    assert early < late and early <= late and late > early and late >= early
    assert early != late and early == early
    same = loop.call_at(7e9, callback)
    assert early == same and early <= same and hash(early) == hash(same)
    assert early != loop.call_at(7e9, callback, "other argument")


def test_handle_has_weakrefs(loop):
    handle = loop.call_soon(callback)
    timer = loop.call_later(1, callback)
    assert weakref.ref(handle)() is handle
    assert weakref.ref(timer)() is timer


# ── cancel ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_cancelled_handle_does_not_run(loop, method):
    ran = []
    handle = getattr(loop, method)(ran.append, 1)
    handle.cancel()
    assert handle.cancelled()
    handle.cancel()
    spin(loop)
    assert ran == []


def test_cancelled_timer_does_not_run(loop, run):
    ran = []
    handle = loop.call_later(0.001, ran.append, 1)
    handle.cancel()
    assert handle.cancelled()
    run(asyncio.sleep(0.01))
    assert ran == []


def test_cancel_from_an_earlier_callback_of_the_same_turn(loop):
    ran = []
    loop.call_soon(lambda: handle.cancel())
    handle = loop.call_soon(ran.append, 1)
    spin(loop)
    assert ran == []


def test_cancel_from_an_earlier_timer_of_the_same_turn(loop):
    ran = []
    loop.call_later(-2, lambda: handle.cancel())
    handle = loop.call_later(-1, ran.append, 1)
    spin(loop)
    assert ran == []


def test_cancel_inside_its_own_callback(loop):
    ran = []
    handle = loop.call_soon(lambda: (ran.append(1), handle.cancel()))
    timer = loop.call_later(0, lambda: (ran.append(2), timer.cancel()))
    spin(loop)
    assert ran == [1, 2]


def test_cancel_after_the_run_does_nothing(loop):
    handle, timer = loop.call_soon(callback), loop.call_later(0, callback)
    spin(loop)
    handle.cancel()
    timer.cancel()
    assert handle.cancelled() and timer.cancelled()


def test_cancel_lets_callback_and_arguments_go(loop):
    class Argument:
        pass

    target, argument = Callback(), Argument()
    handles = loop.call_soon(target, argument), loop.call_later(3600, target, argument)
    alive = weakref.ref(target), weakref.ref(argument)
    del target, argument
    for handle in handles:
        handle.cancel()
        assert handle._callback is None and handle._args is None
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_handle_is_freed_after_its_run(loop):
    target = Callback()
    alive = weakref.ref(target)
    loop.call_soon(target)
    loop.call_later(0, target)
    loop.call_soon_threadsafe(target)
    del target
    spin(loop)
    assert alive() is None


# ── arguments and contexts ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 9, 50])
def test_every_number_of_arguments(loop, count):
    got = []

    def take(*args):
        got.append(args)

    args = tuple(range(count))
    loop.call_soon(take, *args)
    loop.call_soon_threadsafe(take, *args)
    loop.call_later(0, take, *args)
    spin(loop)
    assert got == [args] * 3


def schedule_everywhere(loop, target, **kwargs):
    loop.call_soon(target, **kwargs)
    loop.call_soon_threadsafe(target, **kwargs)
    loop.call_later(0, target, **kwargs)
    loop.call_at(loop.time(), target, **kwargs)


def test_callbacks_run_in_the_context_they_were_scheduled_in(loop):
    got = []
    contextvars.copy_context().run(
        lambda: (VAR.set("inside"), schedule_everywhere(loop, lambda: got.append(VAR.get())))
    )
    spin(loop)
    assert got == ["inside"] * 4
    assert VAR.get() == "unset"


def test_explicit_context_is_used_itself(loop):
    context = contextvars.copy_context()
    schedule_everywhere(loop, lambda: VAR.set(VAR.get() + "+"), context=context)
    spin(loop)
    assert context[VAR] == "unset++++"
    assert VAR.get() == "unset"


def test_changes_do_not_leak_between_callbacks(loop):
    got = []
    schedule_everywhere(loop, lambda: (got.append(VAR.get()), VAR.set("leaked")))
    spin(loop)
    assert got == ["unset"] * 4


@since(3, 12)
def test_get_context(loop):
    context = contextvars.copy_context()
    assert loop.call_soon(callback, context=context).get_context() is context
    assert loop.call_later(1, callback, context=context).get_context() is context
    assert isinstance(loop.call_soon(callback).get_context(), contextvars.Context)


@pytest.mark.asyncio_wrong("any object is taken, and fails in the turn")
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_what_is_not_a_context_is_refused_at_the_call(loop, errors, method):
    try:
        with pytest.raises(TypeError):
            getattr(loop, method)(callback, context=5)
    finally:
        spin(loop)
        errors.take()


def test_keyword_arguments_are_refused(loop):
    with pytest.raises(TypeError):
        loop.call_soon(callback, unknown=1)
    with pytest.raises(TypeError):
        loop.call_later(1, callback, unknown=1)
    with pytest.raises(TypeError):
        loop.call_soon()
    with pytest.raises(TypeError):
        loop.call_later(1)
