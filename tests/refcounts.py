"""Whether tests leave references behind: each is repeated, and all references there are counted.

    python tests/refcounts.py [pytest's arguments]

Needs an interpreter that counts them (a debug build). A test leaks if the total has grown in every
one of its repeats, and grows again when it is given more of them. What leaks on asyncio's loop as
well, in a test that has both, is not oxloop's, and is only named.
"""

import array
import gc
import itertools
import re
import sys
import warnings

import pytest
from _pytest.runner import runtestprotocol

WARM_UP, REPEATS, MORE = 3, 3, 8

#: Tests that are long, or that start many interpreters: what they would show, others show sooner.
TOO_LONG = ("test_bad_input_generated", "test_main", "test_docs", "test_pytest_plugin")

#: What leaks without a loop as well, and why.
NOT_OURS = {
    "test_a_callback_may_call_the_transport": "_ssl does not show a session's context to the "
    "collector, which has the callback, which has the session",
}


def total():
    for _ in range(2):
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys._clear_internal_caches()
    re.purge()
    return sys.gettotalrefcount()


class Refcounts:
    """A plugin of pytest that repeats what passes."""

    def __init__(self):
        self.measured, self.leaks = 0, {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        if any(name in item.nodeid for name in TOO_LONG):
            return True
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=True)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if all(report.passed for report in reports):
            del reports
            self.measured += 1
            self.measure(item, nextitem)
        return True

    def measure(self, item, nextitem):
        for _ in range(WARM_UP - 1):
            self.again(item, nextitem)
        if min(self.deltas(item, nextitem, REPEATS)) > 0:
            deltas = self.deltas(item, nextitem, MORE)
            if min(deltas) > 0:
                self.leaks[item.nodeid] = deltas

    def deltas(self, item, nextitem, count):
        totals = array.array("q", [total()])  # keeps numbers, not references to them
        for _ in range(count):
            self.again(item, nextitem)
            totals.append(total())
        return [after - before for before, after in itertools.pairwise(totals)]

    def again(self, item, nextitem):
        # Fixtures that live longer than the test note that it used them, each time.
        definitions = itertools.chain(*item._fixtureinfo.name2fixturedefs.values())
        noted = [(made._finalizers, len(made._finalizers)) for made in definitions]
        item._initrequest()
        runtestprotocol(item, nextitem=nextitem, log=False)
        item._report_sections.clear()
        item.user_properties.clear()
        for finalizers, before in noted:
            del finalizers[before:]

    def pytest_terminal_summary(self, terminalreporter):
        for name, deltas in self.leaks.items():
            whose = self.not_ours(name) or "LEAK"
            terminalreporter.write_line(f"{whose}: {name}: references after each run: {deltas}")
        terminalreporter.write_line(
            f"{self.measured} tests measured, {REPEATS} repeats each: {len(self.ours())} leak"
        )

    def ours(self):
        return [name for name in self.leaks if not self.not_ours(name)]

    def not_ours(self, name):
        """Why a leak is not oxloop's, if it is not."""
        other = name.replace("[oxloop", "[asyncio").replace("-oxloop", "-asyncio")
        if "asyncio" in name or (other != name and other in self.leaks):
            return "asyncio's as well"
        return next((why for test, why in NOT_OURS.items() if test in name), None)


def main():
    if not hasattr(sys, "gettotalrefcount"):
        sys.exit("this interpreter does not count references: a debug build does")
    # What is there at the end of a module would be left out of all collections after it.
    gc.freeze = lambda: None
    plugin = Refcounts()
    # Its plugin keeps each warning for the end.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:warnings", *sys.argv[1:]]
    failed = pytest.main(options, plugins=[plugin])
    return bool(failed or plugin.ours())


if __name__ == "__main__":
    sys.exit(main())
