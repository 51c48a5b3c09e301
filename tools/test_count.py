"""bench/count.py: which counts fail, what is read of callgrind's output, what is not compared."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "bench"))
import count

ABOUT = {"python": "3.14", "rustc": "1.95.0", "machine": "x86_64"}

PART = """\
events: Ir
summary: 1

ob=(1) /lib/ours.so
fl=(1) ???
fn=(7) run
12 100
+3 20
cob=(2) /lib/theirs.so
cfi=(1)
cfn=(8) work
calls=3 0
* 5000
-1 1

fn=(9) rest
0 4

ob=(2)
fn=(8)
0x10 5000

ob=(1)
fn=(7)
+1 2
"""


def complaints(kept, now):
    return count.compare({"echo": kept}, {"echo": now})


def test_growth_beyond_three_percent_fails():
    assert complaints(1000.0, 1031.0) == (["echo: +3.1 %, allowed are 3%"], [])


@pytest.mark.parametrize("now", [1029.0, 1000.0, 971.0])
def test_smaller_changes_pass(now):
    assert complaints(1000.0, now) == ([], [])


def test_what_has_shrunk_should_be_kept():
    assert complaints(1000.0, 960.0) == ([], ["echo: -4.0 %. Keep that by UPDATE=1"])


def test_paths_have_to_be_the_same():
    wrong, _ = count.compare({"echo": 1.0, "turn": 1.0}, {"turn": 1.0, "timer": 1.0})
    assert wrong == [
        "echo: is kept, but was not counted",
        "timer: no count is kept to compare it with",
    ]


def test_a_verdict_is_an_exit_status():
    kept = count.Kept(ABOUT, {"echo": 1000.0})
    assert count.judge(kept, count.Kept(ABOUT, {"echo": 1020.0})) is None
    assert "+4.0 %" in count.judge(kept, count.Kept(ABOUT, {"echo": 1040.0}))


@pytest.mark.parametrize("name", ABOUT)
def test_what_is_not_alike_is_not_compared(name):
    kept = count.Kept(ABOUT, {"echo": 1000.0})
    said = count.judge(kept, count.Kept({**ABOUT, name: "another"}, {"echo": 1.0}))
    assert "nothing was compared" in said and f"{name} another" in said


def test_costs_are_a_functions_own():
    costs = count.self_costs(PART.splitlines())
    assert costs == {
        ("/lib/ours.so", "run"): 123,
        ("/lib/ours.so", "rest"): 4,
        ("/lib/theirs.so", "work"): 5000,
    }


def test_what_is_kept_can_be_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(count, "KEPT", tmp_path / "counts.toml")
    assert count.read() == ({}, {})
    count.write(count.Kept(ABOUT, {"echo": 1234.56}))
    assert count.read() == (ABOUT, {"echo": 1234.6})


def test_the_counts_of_the_project_are_of_its_paths():
    assert count.read().instructions.keys() == count.HOT_PATHS.keys()
    assert count.read().about.keys() == ABOUT.keys()


def test_without_valgrind(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["count.py"])
    with pytest.raises(SystemExit, match="no valgrind on PATH"):
        count.main()
