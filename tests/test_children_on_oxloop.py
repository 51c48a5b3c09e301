"""`python -m oxloop --children`: the interpreters that a program starts are on oxloop, too."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.oxloop_only

WHICH = "import asyncio; print(type(asyncio.new_event_loop()).__module__.split('.')[0])"
CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {WHICH!r}], check=True)
"""


def parent(*words, environment=(), **options):
    done = subprocess.run(
        [sys.executable, "-m", "oxloop", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **dict(environment)},
        **options,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_children_are_left_alone_unless_it_is_asked():
    assert parent("-c", CHILD) == ["asyncio"]


def test_a_child():
    assert parent("--children", "-c", CHILD) == ["oxloop"]


def test_a_child_of_a_child():
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WHICH!r}])"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    assert parent("--children", "-c", outer) == ["oxloop"]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing, sys

def work():
    {WHICH}

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    child = multiprocessing.Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
""")
    assert parent("--children", str(script)) == ["oxloop"]


def test_the_childs_import_of_asyncio_is_as_before():
    source = """
import sys
assert "asyncio" not in sys.modules and "oxloop" not in sys.modules
assert not any("_children" in path for path in sys.path)
import asyncio
print(type(asyncio.__loader__).__name__, type(asyncio.__spec__.loader).__name__)
print([type(finder).__name__ for finder in sys.meta_path if "oxloop" in repr(finder)])
import asyncio.subprocess
"""
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {source!r}], check=True)"
    # What looks out for uvloop stays, what waited for asyncio does not.
    left = "['NoticeUvloop']"
    assert parent("--children", "-c", run) == ["SourceFileLoader SourceFileLoader", left]


def test_the_stand_in_of_a_child():
    child = "import uvloop; print('stands in' in repr(uvloop))"
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert parent("--children", "--as-uvloop", "-c", run) == ["True"]


def test_a_sitecustomize_that_is_there_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.mine = 'it ran'")
    child = "import sitecustomize; print(mine, sitecustomize.__file__.startswith(%r))"
    run = (
        "import subprocess, sys;"
        f"subprocess.run([sys.executable, '-c', {child % str(tmp_path)!r}], check=True)"
    )
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    assert parent("--children", "-c", run, environment={"PYTHONPATH": paths}) == ["it ran True"]


def test_an_interpreter_without_oxloop_goes_on_without(tmp_path):
    # The folder alone is on the path of such a child, as in another environment.
    import oxloop

    folder = os.path.join(os.path.dirname(os.path.abspath(oxloop.__file__)), "_children")
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sitecustomize\n{WHICH}"],
        env={"PYTHONPATH": folder, "OXLOOP_CHILDREN": "uvloop"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("asyncio\n", "")
