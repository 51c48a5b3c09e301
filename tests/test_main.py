"""`python -m oxloop` behaves like `python`, with oxloop as the loop."""

import os
import signal
import subprocess
import sys

import pytest
from support import interrupt_child, until

pytestmark = pytest.mark.oxloop_only

WHICH = "import asyncio; print(type(asyncio.new_event_loop()).__module__.split('.')[0])"
RUN = """
import asyncio

async def main():
    print(type(asyncio.get_running_loop()).__module__.split(".")[0])

asyncio.run(main())
"""


def both(*args, **options):
    """Run the same arguments under `python` and `python -m oxloop`."""
    options = {"capture_output": True, "text": True, "timeout": 30, **options}
    return [
        subprocess.run([sys.executable, *prefix, *args], **options)
        for prefix in ((), ("-m", "oxloop"))
    ]


def assert_alike(*args, **options):
    plain, ours = both(*args, **options)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout), ours.stderr
    return plain, ours


@pytest.fixture
def script(tmp_path):
    def write(source, name="script.py"):
        path = tmp_path / name
        path.write_text(source)
        return str(path)

    return write


def test_script_runs_on_oxloop(script):
    plain, ours = both(script(RUN))
    assert plain.stdout == "asyncio\n"
    assert ours.stdout == "oxloop\n", ours.stderr


def test_code_runs_on_oxloop():
    assert both("-c", RUN)[1].stdout == "oxloop\n"


def test_module_runs_on_oxloop(script, tmp_path):
    script(RUN, "mymodule.py")
    assert both("-m", "mymodule", cwd=tmp_path)[1].stdout == "oxloop\n"


def test_argv_of_a_script(script):
    assert_alike(script("import sys; print(sys.argv)"), "one", "--two", "-c", "-m")


def test_argv_of_code():
    assert_alike("-c", "import sys; print(sys.argv)", "one", "--two")


def test_argv_of_a_module(script, tmp_path):
    script("import sys; print(sys.argv)", "mymodule.py")
    assert_alike("-m", "mymodule", "one", "-c", cwd=tmp_path)


def test_main_is_the_program(script, tmp_path):
    source = "import sys; print(__name__, sys.modules['__main__'].mine)"
    path = script("mine = 1\n" + source, "mymodule.py")
    assert_alike(path)
    assert_alike("-m", "mymodule", cwd=tmp_path)
    assert_alike("-c", "mine = 1\n" + source)


def test_file_and_path_of_a_script(script, tmp_path):
    assert_alike(script("import sys; print(__file__, sys.path[0])"), cwd=tmp_path)
    assert_alike("script.py", cwd=tmp_path)


def test_path_of_code_and_module(script, tmp_path):
    source = "import sys; print(repr(sys.path[0]))"
    script(source, "mymodule.py")
    assert_alike("-c", source, cwd=tmp_path)
    assert_alike("-m", "mymodule", cwd=tmp_path)


def test_scripts_import_their_neighbours(script, tmp_path):
    script("value = 'neighbour'", "neighbour.py")
    assert_alike(script("import neighbour; print(neighbour.value)"))


@pytest.mark.parametrize("status", ["0", "3", "None", "'a message'", ""])
def test_exit_status(status):
    plain, ours = assert_alike("-c", f"import sys; sys.exit({status})")
    assert ours.stderr == plain.stderr


def test_traceback_goes_to_stderr(script):
    plain, ours = assert_alike(script("def fail():\n    1 / 0\n\nfail()\n"))
    assert ours.returncode == 1
    header, frames = plain.stderr.split("\n", 1)
    assert ours.stderr.startswith(header)
    assert ours.stderr.endswith(frames)


def test_syntax_errors_go_to_stderr(script):
    _, ours = assert_alike(script("def (:\n"))
    assert ours.returncode == 1
    assert "SyntaxError" in ours.stderr


@pytest.mark.parametrize("args", [("no-such-file.py",), ("-m", "no_such_module")])
def test_a_missing_program_fails_as_it_does_for_python(args, tmp_path):
    plain, ours = both(*args, cwd=tmp_path)
    assert ours.returncode == plain.returncode != 0
    assert ours.stderr


def test_a_package_runs_its_main(script, tmp_path):
    (tmp_path / "mypackage").mkdir()
    script("", "mypackage/__init__.py")
    script("print(__name__, __package__)", "mypackage/__main__.py")
    assert_alike("-m", "mypackage", cwd=tmp_path)


def test_a_directory_runs_its_main(script, tmp_path):
    script("import sys; print(__name__, sys.path[0])", "__main__.py")
    assert_alike(str(tmp_path))


def test_code_after_the_event_loop_runs_and_atexit_too():
    assert_alike("-c", "import atexit; atexit.register(print, 'bye'); print('hello')")


def test_ctrl_c_ends_it_as_it_ends_python(script):
    path = script(
        "import asyncio\n"
        "async def main():\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    plain, _ = interrupt_child([sys.executable, path])
    status, stderr = interrupt_child([sys.executable, "-m", "oxloop", path])
    assert status == plain == -signal.SIGINT
    assert "KeyboardInterrupt" in stderr


def test_new_event_loop_gives_oxloop_to_the_program():
    assert both("-c", WHICH)[1].stdout == "oxloop\n"


def ours(*words, **options):
    return both(*words, **options)[1]


@pytest.mark.parametrize("name", ["SelectorEventLoop", "EventLoop"])
def test_the_names_of_the_default_loop(name):
    done = ours("-c", f"import asyncio; print(getattr(asyncio, {name!r}, None))")
    assert done.stdout in ("<class 'oxloop._loop.EventLoop'>\n", "None\n"), done.stderr


@until(3, 16)
def test_a_default_policy_of_the_programs_own():
    source = "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())"
    done = ours("-c", f"import asyncio; {source}; {WHICH}")
    assert done.stdout == "oxloop\n", done.stderr


def test_info():
    done = ours("info")
    assert done.returncode == 0, done.stderr
    facts = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert facts["backend"].strip() == "epoll"
    assert facts["oxloop"].strip()[0].isdigit()
    assert facts["TLS"].strip().startswith(("direct", "through"))


def test_info_says_why_tls_is_not_direct():
    environment = {**os.environ, "OXLOOP_TLS": "object"}
    done = ours("info", env=environment)
    assert "through ssl.SSLObject: OXLOOP_TLS=object\n" in done.stdout, done.stderr


def test_version_and_help():
    assert ours("--version").stdout.startswith("oxloop 0.")
    assert "--as-uvloop" in ours("--help").stdout


@pytest.mark.parametrize("words", [(), ("--children",), ("--as-uvlop", "x.py"), ("-m",), ("-c",)])
def test_a_mistake_is_told_and_nothing_runs(words):
    done = subprocess.run(
        [sys.executable, "-m", "oxloop", *words], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "usage: python -m oxloop" in done.stderr
    assert not done.stdout


@pytest.fixture
def real_uvloop(tmp_path):
    """Stands for the real one: a module on the path."""
    (tmp_path / "uvloop.py").write_text("name = __name__")
    paths = filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


IMPORT_UVLOOP = "import asyncio, uvloop; print(uvloop.name)"
IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {IMPORT_UVLOOP!r}])"


@pytest.mark.parametrize(
    "words", [("-c", IMPORT_UVLOOP), ("--children", "-c", IN_A_CHILD)], ids=["itself", "a child"]
)
def test_a_program_that_imports_uvloop_is_told_what_to_do(real_uvloop, words):
    command = [sys.executable, "-m", "oxloop", *words]
    done = subprocess.run(command, env=real_uvloop, capture_output=True, text=True, timeout=30)
    assert done.stdout == "uvloop\n", done.stderr
    assert done.stderr.count("RuntimeWarning: this program imports uvloop") == 1, done.stderr
    assert "--as-uvloop" in done.stderr


def test_no_word_of_uvloop_where_there_is_none():
    source = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
try:
    import uvloop
except ImportError:
    print("none")
"""
    command = [sys.executable, "-m", "oxloop", "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("none\n", "")
