"""CPython's own asyncio tests with another loop put in. Runs inside the interpreter examined.

conformance_run.py starts one process for each test module:

    python conformance_inside.py oxloop test_events 30 DESCRIPTOR

It writes lines of JSON to the descriptor: "plan" with the ids of all tests; then, for those whose
ids it is given as JSON on its input, "start" and "end" of each; "done". Nothing here but the
standard library, its tests and the loop under test may be imported.
"""

import asyncio
import faulthandler
import gc
import importlib
import json
import mmap
import os
import signal
import sys
import time
import types
import unittest
from unittest import mock

PACKAGE = "test.test_asyncio."
#: In these a TestLoop is what the test is about: its fake selector is looked into, or asyncio's
#: own transports are driven by mocks. Elsewhere it stands for "some loop".
ABOUT_TEST_LOOP = {
    "test_base_events",
    "test_proactor_events",
    "test_selector_events",
    "test_sslproto",
    "test_subprocess",
    "test_unix_events",
}

#: Whether the test that runs has made a loop; shared with the processes it forks.
MADE = mmap.mmap(-1, 1)


# -- the loop under test ---------------------------------------------------------------------


def loop_under_test(name):
    """A subclass of the loop class, that notes when one is made."""
    base = importlib.import_module(name)
    base = getattr(base, "SelectorEventLoop", None) or base.EventLoop

    def __init__(self, *args, **kwargs):
        MADE[0] = 1
        base.__init__(self, *args, **kwargs)

    return type(base)(base.__name__, (base,), {"__init__": __init__, "__module__": base.__module__})


def put_in(loop_class):
    """Every way to come by a loop gives the one under test."""
    for module in (asyncio, asyncio.unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, loop_class)
    for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
        if policy := getattr(asyncio.unix_events, name, None):
            policy._loop_factory = loop_class


def adapt_fixtures(name, loop_class):
    """Import the test module; its fixtures that build a loop by hand get ours."""
    from test.test_asyncio import utils

    test_loop = utils.TestCase.new_test_loop

    def new_test_loop(self, gen=None):
        # With a generator the test simulates time, which is what TestLoop is for.
        if gen is not None or name in ABOUT_TEST_LOOP:
            return test_loop(self, gen)
        loop = loop_class()
        self.set_event_loop(loop)
        return loop

    utils.TestCase.new_test_loop = new_test_loop
    module = importlib.import_module(PACKAGE + name)
    if name == "test_base_events":
        use_in_setup(module.BaseEventLoopTests, loop_class)
        module.base_events = view(module.base_events, BaseEventLoop=loop_class)
    elif name == "test_pep492":
        use_in_setup(module.BaseTest, loop_class)
    elif name == "test_runners":
        module.BaseTest.new_loop = lambda self: noting_shutdown(loop_class())
    elif name == "test_tasks":
        # The fixture runs the loop while its private queue is not empty.
        module.GatherTestsBase._run_loop = lambda self, loop: [
            utils.run_briefly(loop) for _ in range(10)
        ]
    return module


def use_in_setup(case, loop_class):
    """The loop of these tests is a bare BaseEventLoop, whose hooks they replace by mocks."""

    class Deaf(loop_class):
        def __setattr__(self, name, value):
            is_mock = isinstance(value, mock.NonCallableMock)
            if not (is_mock and name in ("_process_events", "_write_to_self", "_selector")):
                super().__setattr__(name, value)

    Deaf.__name__ = loop_class.__name__

    def set_up(self):
        super(case, self).setUp()
        self.loop = Deaf()
        self.set_event_loop(self.loop)

    case.setUp = set_up


def view(module, **names):
    """A copy of a module's namespace with a few names replaced."""
    copy = types.ModuleType(module.__name__)
    vars(copy).update(vars(module), **names)
    return copy


def noting_shutdown(loop):
    """What the fixture of test_runners looks at: whether shutdown_asyncgens() has run."""
    shutdown = loop.shutdown_asyncgens
    loop.shutdown_ag_run = False

    async def shutdown_asyncgens():
        loop.shutdown_ag_run = True
        await shutdown()

    loop.shutdown_asyncgens = shutdown_asyncgens
    return loop


# -- running ---------------------------------------------------------------------------------


class Reporter(unittest.TestResult):
    """Tells the parent of every test as it starts and ends."""

    def __init__(self, tell, timeout):
        super().__init__()
        self.tell, self.timeout = tell, timeout
        self.current = None
        self.left = []

    def startTest(self, test):
        super().startTest(test)
        self.current, self.status, self.detail = short_id(test.id()), None, ""
        MADE[0] = 0
        self.tell(event="start", id=self.current)
        self.start = time.monotonic()
        faulthandler.dump_traceback_later(max(self.timeout - 1, 1))

    def stopTest(self, test):
        super().stopTest(test)
        self.finish()

    def finish(self):
        gc.collect()
        faulthandler.cancel_dump_traceback_later()
        self.end(self.current, self.status or "error", self.detail)
        self.current = None

    def end(self, name, status, detail):
        self.left.remove(name)
        self.tell(event="end", id=name, status=status, detail=detail[-3000:], used=bool(MADE[0]))

    def note(self, test, status, detail=""):
        if self.current is None:
            return self.fixture(test.id(), status, detail)
        if self.status not in ("fail", "error"):
            self.status = status
        self.detail += detail

    def fixture(self, name, status, detail):
        """setUpClass or setUpModule, "setUpClass (package.module.Class)": stands for its tests."""
        prefix = short_id(name[name.find("(") + 1 :].rstrip(")")) + "."
        for test in [test for test in self.left if test.startswith(prefix)]:
            self.end(test, status, detail)

    def addSuccess(self, test):
        self.note(test, "pass")

    def addFailure(self, test, err):
        self.note(test, "fail", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        self.note(test, "error", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self.note(test, "skip", reason)

    def addExpectedFailure(self, test, err):
        self.note(test, "pass")

    def addUnexpectedSuccess(self, test):
        self.note(test, "fail", "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            status = "fail" if issubclass(err[0], test.failureException) else "error"
            self.note(test, status, self._exc_info_to_string(err, test))


def short_id(name):
    return name.removeprefix(PACKAGE)


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def run(tests, reporter):
    """Run them in order; a KeyboardInterrupt that escapes from one ends that one only."""
    while reporter.left:
        try:
            unittest.TestSuite(tests[name] for name in reporter.left).run(reporter)
            break
        except KeyboardInterrupt:
            if reporter.current is None:
                raise
            reporter.note(None, "error", "KeyboardInterrupt escaped from the test")
            reporter.finish()


def prepare_process(timeout):
    """Whoever started us may have ignored or blocked signals that are tested here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    faulthandler.enable()
    from test import support

    support.verbose = 0
    # What a test waits for itself shall fail before the test counts as hanging.
    support.SHORT_TIMEOUT = min(support.SHORT_TIMEOUT, max(5.0, timeout * 0.6))


def main(loop, module, timeout, descriptor):
    out = os.fdopen(int(descriptor), "w")

    def tell(**event):
        out.write(json.dumps(event) + "\n")
        out.flush()

    prepare_process(float(timeout))
    loop_class = loop_under_test(loop)
    put_in(loop_class)
    try:
        loaded = unittest.defaultTestLoader.loadTestsFromModule(adapt_fixtures(module, loop_class))
    except unittest.SkipTest as skip:
        print("skipped:", skip)
        tell(event="plan", ids=[])
        tell(event="done")
        return
    tests = {short_id(test.id()): test for test in flatten(loaded)}
    tell(event="plan", ids=list(tests))
    reporter = Reporter(tell, float(timeout))
    reporter.left = [name for name in json.load(sys.stdin) if name in tests]
    run(tests, reporter)
    tell(event="done")


if __name__ == "__main__":
    main(*sys.argv[1:])
