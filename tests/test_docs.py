"""The Python examples of the documentation run, each by itself, as a reader would try it."""

import pathlib
import re
import subprocess
import sys

import pytest
from support import since

pytestmark = [pytest.mark.oxloop_only, since(3, 14)]

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLE = re.compile(
    r"^(<!-- not run: [^\n]+ -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def examples():
    """Those without a reason not to be run; one that goes on where others ended has them before."""
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for number, (reason, source) in enumerate(EXAMPLE.findall(page.read_text()), 1):
            if not reason:
                yield pytest.param(source, id=f"{page.name}-{number}")


@pytest.mark.parametrize("source", [*examples()])
def test_example(source, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
