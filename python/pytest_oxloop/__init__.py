"""``pytest --oxloop``: any asyncio test suite on oxloop, whichever async plugin it uses.

A package of its own, so that a pytest run without ``--oxloop`` does not import oxloop. What it
does is what ``python -m oxloop`` does: asyncio's default loops are oxloop's. At the end it says
which loops were made, for a suite may choose its own.
"""

import collections

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("oxloop")
    group.addoption("--oxloop", action="store_true", help="run asyncio's default loops on oxloop")
    group.addoption(
        "--oxloop-as-uvloop",
        action="store_true",
        help="let `import uvloop` give oxloop as well (implies --oxloop)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    """Before the suite's own conftest, which may keep a loop class or a policy for itself."""
    asked = early_config.known_args_namespace
    if not (asked.oxloop or asked.oxloop_as_uvloop):
        return
    import oxloop
    from oxloop import _everywhere

    _everywhere.take_over()
    if asked.oxloop_as_uvloop:
        try:
            oxloop.as_uvloop()
        except RuntimeError as exc:
            raise pytest.UsageError(f"--oxloop-as-uvloop: {exc}") from exc
    early_config.pluginmanager.register(Report(), "oxloop-report")


class Report:
    """Counts the loops that are made, by class."""

    def __init__(self):
        self.made = collections.Counter()
        self.original = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        from asyncio import base_events

        self.original = original = base_events.BaseEventLoop.__init__
        made = self.made

        def __init__(loop, *args, **kwargs):
            made[kind_of(type(loop))] += 1
            original(loop, *args, **kwargs)

        base_events.BaseEventLoop.__init__ = __init__

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config):
        from asyncio import base_events

        if self.original is not None:
            base_events.BaseEventLoop.__init__ = self.original

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        """In a worker of pytest-xdist: hand the counts over."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["oxloop"] = dict(self.made)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        """pytest-xdist: a worker is done."""
        self.made.update(getattr(node, "workeroutput", {}).get("oxloop", {}))

    def pytest_report_header(self, config):
        import oxloop

        return f"oxloop: {oxloop.__version__}, asyncio's default loops are its"

    def pytest_terminal_summary(self, terminalreporter):
        ours = self.made.pop("oxloop", 0)
        line = f"oxloop: {ours} loops made"
        if self.made:
            others = ", ".join(f"{count} of {kind}" for kind, count in self.made.most_common())
            line += f"; besides, of a class the suite chose: {others}"
        terminalreporter.write_line(line)


def kind_of(loop_class):
    """``oxloop`` for its loops and subclasses of them, otherwise the class's full name."""
    from oxloop import EventLoop

    if issubclass(loop_class, EventLoop):
        return "oxloop"
    return f"{loop_class.__module__}.{loop_class.__qualname__}"
