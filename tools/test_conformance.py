"""conformance.py: what fails the gate, and what is only mentioned."""

import conformance
import pytest
from conformance import Known, judge

EXPECTED = {"test_a.T.one", "test_a.T.two", "test_b.T.three"}


def results(exits=(), **statuses):
    """What run.py writes; `again_pass` stands for a pass at the second try."""
    tests = {name: {"status": "pass"} for name in EXPECTED}
    for name, status in statuses.items():
        (full,) = (known for known in EXPECTED if known.endswith(name))
        tests[full] = {"status": status.removeprefix("again_")}
        if status.startswith("again_"):
            tests[full]["first"] = "fail"
    counts = {}
    for test in tests.values():
        counts[test["status"]] = counts.get(test["status"], 0) + 1
    flaky = [name for name, test in tests.items() if "first" in test]
    found = {"python": "3.14.1", "tests": tests, "counts": counts, "flaky": flaky}
    return found | {"exits": {module: [] for module in exits}}


def problems(found, *known, version="3.14", expected=EXPECTED):
    return judge(found, known, version, expected).problems


def test_all_pass():
    verdict = judge(results(), [], "3.14", EXPECTED)
    assert verdict.problems == verdict.notes == []
    assert "3 / 3 = 100.00 %" in verdict.score


@pytest.mark.parametrize("status", ["fail", "error", "crash", "hang"])
def test_a_new_failure(status):
    assert problems(results(one=status)) == [f"{status.upper()} test_a.T.one"]


@pytest.mark.parametrize("status", ["fail", "error"])
def test_a_known_failure(status):
    assert problems(results(one=status), Known("test_a.T.one", "why")) == []


@pytest.mark.parametrize("status", ["crash", "hang"])
def test_no_list_excuses_a_crash(status):
    assert problems(results(one=status), Known("test_a.T.one", "why"))


def test_known_on_another_version():
    known = Known("test_a.T.one", "why", pythons=("3.11",))
    assert problems(results(one="fail"), known)
    assert problems(results(), known) == []


def test_a_known_failure_that_passes():
    assert problems(results(), Known("test_a.T.one", "why")) == [
        "PASSES test_a.T.one: delete its entry"
    ]


@pytest.mark.parametrize("status", ["pass", "fail", "again_pass"])
def test_a_flaky_entry_may_do_either(status):
    assert problems(results(one=status), Known("test_a.T.one", "why", flaky=True)) == []


def test_an_entry_without_a_test():
    (problem,) = problems(results(), Known("test_a.T.gone", "why"))
    assert problem.startswith("UNKNOWN test_a.T.gone")


def test_a_second_try_is_mentioned():
    verdict = judge(results(one="again_pass", two="skip"), [], "3.14", EXPECTED)
    assert verdict.problems == []
    assert verdict.notes == ["flaky   test_a.T.one", "skipped test_a.T.two"]


def test_a_module_that_did_not_run():
    found = results()
    del found["tests"]["test_b.T.three"]
    assert problems(found) == ["SILENT test_b: none of its tests ran"]


def test_a_process_that_died_late():
    (problem,) = problems(results(exits=["test_a"]))
    assert problem.startswith("EXIT test_a")


def test_the_list_is_read(tmp_path):
    path = tmp_path / "known.toml"
    path.write_text('[[known]]\nid = "a"\nwhy = "b"\npythons = ["3.11"]\n')
    assert conformance.load_known(path) == [Known("a", "b", ("3.11",))]


def test_the_list_needs_reasons(tmp_path):
    path = tmp_path / "known.toml"
    path.write_text('[[known]]\nid = "a"\n')
    with pytest.raises(TypeError, match="why"):
        conformance.load_known(path)


def test_our_own_list_is_sound():
    conformance.load_known(conformance.KNOWN)
