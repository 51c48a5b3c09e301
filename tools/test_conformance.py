"""conformance.py: what fails the gate, and what is only mentioned; processes that end badly."""

import sys
import textwrap
from pathlib import Path

import conformance
import conformance_run
import pytest
from conformance import Excluded, Known, Outcome, judge
from conformance_run import Result, Setting, run_module

NAMES = {"test_a.T.one", "test_a.T.two", "test_b.T.three"}


@pytest.fixture(autouse=True)
def few_will_do(monkeypatch):
    monkeypatch.setattr(conformance, "FEWEST", 1)


def outcome(trouble=(), **statuses):
    """What a run gives; `again_pass` stands for a pass at the second try."""
    tests = {name: Result("pass", used=True) for name in NAMES}
    for name, status in statuses.items():
        (full,) = (known for known in NAMES if known.endswith(name))
        first = "fail" if status.startswith("again_") else ""
        tests[full] = Result(status.removeprefix("again_"), first=first)
    return Outcome(tests, {}, dict.fromkeys(trouble, "exit status -11"))


def problems(found, *known, version="3.14", expected=NAMES, whole=True):
    return judge(found, known, version, expected, whole).problems


def test_all_pass():
    verdict = judge(outcome(), [], "3.14", NAMES, True)
    assert verdict.problems == verdict.notes == []
    assert "3 / 3 = 100.00 %" in verdict.score


@pytest.mark.parametrize("status", ["fail", "error", "crash", "hang", "skip"])
def test_a_new_failure(status):
    assert problems(outcome(one=status)) == [f"{status.upper()} test_a.T.one"]


@pytest.mark.parametrize("status", ["fail", "error", "skip"])
def test_a_known_failure(status):
    assert problems(outcome(one=status), Known("test_a.T.one", "why")) == []


@pytest.mark.parametrize("status", ["crash", "hang"])
def test_no_list_excuses_a_crash(status):
    assert problems(outcome(one=status), Known("test_a.T.one", "why"))


def test_known_on_another_version():
    known = Known("test_a.T.one", "why", pythons=("3.11",))
    assert problems(outcome(one="fail"), known)
    assert problems(outcome(), known) == []


def test_a_known_failure_that_passes():
    assert problems(outcome(), Known("test_a.T.one", "why")) == [
        "PASSES test_a.T.one: delete its entry"
    ]


@pytest.mark.parametrize("status", ["pass", "fail", "again_pass"])
def test_a_flaky_entry_may_do_either(status):
    assert problems(outcome(one=status), Known("test_a.T.one", "why", flaky=True)) == []


def test_an_entry_without_a_test():
    (problem,) = problems(outcome(), Known("test_a.T.gone", "why"))
    assert problem.startswith("UNKNOWN test_a.T.gone")


def test_a_second_try_is_mentioned():
    verdict = judge(outcome(one="again_pass"), [], "3.14", NAMES, True)
    assert verdict.problems == []
    assert verdict.notes == ["flaky   test_a.T.one (first: fail)"]


def test_what_the_reference_fails_too_is_mentioned():
    found = outcome()
    found.void["test_a.T.four"] = Result("fail")
    verdict = judge(found, [], "3.14", NAMES, True)
    assert verdict.problems == []
    assert verdict.notes == ["void    test_a.T.four: asyncio's own loop does not pass it either"]


def test_the_tests_that_count_are_those_that_are_listed():
    found = outcome()
    found.counted["test_a.T.more"] = found.counted.pop("test_b.T.three")
    assert problems(found) == [
        "MISSING test_b.T.three: did not count",
        "EXTRA test_a.T.more: is not listed",
    ]
    assert problems(found, expected=set()) == problems(found, whole=False) == []


def test_a_loop_that_is_not_in_place_counts_few(monkeypatch):
    monkeypatch.setattr(conformance, "FEWEST", 4)
    assert problems(outcome()) == ["FEW only 3 tests made a loop"]


def test_a_process_that_died_late():
    assert problems(outcome(trouble=["test_a"])) == ["TROUBLE test_a: exit status -11"]


def test_the_lists_are_read(tmp_path):
    path = tmp_path / "list.toml"
    path.write_text('[[known]]\nid = "a"\nwhy = "b"\npythons = ["3.11"]\n')
    assert conformance.load_known(path) == [Known("a", "b", ("3.11",))]
    path.write_text('[[excluded]]\nids = ["a.*"]\nkeep = ["*.b"]\nwhy = "c"\n')
    (entry,) = conformance.load_excluded(path)
    assert entry == Excluded(["a.*"], "c", ["*.b"])
    assert entry.covers("a.c") and not entry.covers("a.b") and not entry.covers("b.c")


@pytest.mark.parametrize("key, load", [("known", "load_known"), ("excluded", "load_excluded")])
def test_the_lists_need_reasons(tmp_path, key, load):
    path = tmp_path / "list.toml"
    path.write_text(f'[[{key}]]\n{"id" if key == "known" else "ids"} = "a"\n')
    with pytest.raises(TypeError, match="why"):
        getattr(conformance, load)(path)


def test_our_own_lists_are_sound():
    conformance.load_known(conformance.KNOWN)
    assert conformance.load_excluded(conformance.EXCLUDED)


# -- processes -------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a module of tests a, b and c, with a body for `b`; results and trouble."""

    def run(body, timeout=10.0, after=""):
        inside = tmp_path / "inside.py"
        inside.write_text(INSIDE.format(body=textwrap.indent(body, " " * 8), after=after))
        monkeypatch.setattr(conformance_run, "INSIDE", inside)
        setting = Setting(Path(sys.executable), "asyncio", timeout)
        done = run_module(setting, "test_it", lambda name: name != "not this")
        assert done.excluded == ["not this"]
        return {name: result.status for name, result in done.tests.items()}, done.trouble

    return run


INSIDE = """
import json, os, sys, time
out = os.fdopen(int(sys.argv[4]), "w")
def tell(**event):
    print(json.dumps(event), file=out, flush=True)
tell(event="plan", ids=["a", "b", "c", "not this"])
for name in json.load(sys.stdin):
    tell(event="start", id=name)
    status = "pass"
    if name == "b":
{body}
    tell(event="end", id=name, status=status, detail="", used=True)
tell(event="done")
{after}
"""


def test_good_tests(run):
    assert run("pass") == ({"a": "pass", "b": "pass", "c": "pass"}, "")


def test_a_failing_test_is_tried_again(run, tmp_path):
    done, _ = run(f"""
mark = {str(tmp_path / "mark")!r}
if not os.path.exists(mark):
    status = open(mark, "w").name and "fail"
""")
    assert done == {"a": "pass", "b": "pass", "c": "pass"}


def test_a_crash_ends_one_test_only(run):
    assert run("os.abort()")[0] == {"a": "pass", "b": "crash", "c": "pass"}


def test_a_hang_ends_one_test_only(run):
    assert run("time.sleep(60)", timeout=-1.5)[0] == {"a": "pass", "b": "hang", "c": "pass"}


def test_a_death_after_the_last_test_is_told(run):
    done, trouble = run("pass", after="os.abort()")
    assert set(done.values()) == {"pass"}
    assert trouble.startswith("exit status -6 after the last test")


def test_a_module_that_cannot_be_imported_is_told():
    inside = Setting(Path(sys.executable), "no_such_loop", 5.0)
    done = run_module(inside, "test_events", lambda name: True)
    assert done.tests == {} and done.trouble.startswith("could not be run")
