"""check_docs.py finds dead links and examples that do not compile, and nothing else."""

import textwrap

import check_docs
import pytest


@pytest.fixture
def complaints(tmp_path, capsys):
    """Check a README with this text, beside a docs/guide.md; return what is wrong with it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/guide.md").write_text("# Guide\n\n## First steps, `now`\n\nBack: [](../)\n")

    def complaints(text):
        (tmp_path / "README.md").write_text(textwrap.dedent(text))
        status = check_docs.main(["--root", str(tmp_path)])
        lines = capsys.readouterr().out.splitlines()
        assert status == (not lines[0].endswith("ok"))
        return lines if status else []

    return complaints


@pytest.mark.parametrize(
    "text",
    [
        "# A title\n[a](docs/guide.md) [b](docs/guide.md#first-steps-now) [c](#a-title)\n",
        "[site](https://example.org/x) ![image](docs/guide.md) [d](docs)\n",
        "`[not](a-link)`\n```text\n[nor](this)\n```\n",
        "[a]: docs/guide.md\n",
        f"[a]({check_docs.OURS}docs/guide.md#first-steps-now)\n",
        "```python\nawait f()\nasync with g() as x: pass\n```\n",
        "```python\n>>> 1 +\\\n... 2\n3\n```\n",
        "```rust\nlet x = ;\n```\n",
        "- item\n\n  ```python\n  if x:\n      y()\n  ```\n",
    ],
)
def test_good(complaints, text):
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n[a](docs/gone.md)\n", "README.md:2: docs/gone.md: there is no such file"),
        ("[a](docs/guide.md#gone)\n", "README.md:1: docs/guide.md#gone: there is no such heading"),
        ("[a](#gone)\n", "README.md:1: #gone: there is no such heading"),
        ("[a](../../etc)\n", "README.md:1: ../../etc: there is no such file"),
        ("[a](..)\n", "README.md:1: ..: leads out of the repository"),
        (
            f"[a]: {check_docs.OURS}gone.md\n",
            f"README.md:1: {check_docs.OURS}gone.md: there is no such file",
        ),
        ("[a]: gone.md\n", "README.md:1: gone.md: there is no such file"),
        ("```text\n```\n\n```python\nx = 1\ny = = 2\n```\n", "README.md:6: invalid syntax"),
        ("```pycon\n>>> f(\n```\n", "README.md:2: '(' was never closed"),
    ],
)
def test_bad(complaints, text, complaint):
    assert complaints(text) == [complaint]
