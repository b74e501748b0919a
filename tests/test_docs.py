"""The user guide runs as it is written, and the pages build without a warning."""

import doctest
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "guide").glob("*.rst"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_the_guide_gives_what_it_says(page):
    failed, tried = doctest.testfile(
        str(page), module_relative=False, optionflags=doctest.ELLIPSIS
    )
    assert (failed, tried > 5) == (0, True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_are_short_and_in_the_table_of_contents(page):
    assert len(page.read_text("utf-8").splitlines()) < 120
    assert f"guide/{page.stem}\n" in (ROOT / "docs" / "index.rst").read_text("utf-8")


@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples").glob("plot_*.py")), ids=lambda p: p.stem
)
def test_every_example_of_the_gallery_runs_in_less_than_30_seconds(example, tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-W", "error::FutureWarning", example]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 30


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx_gallery")
    for folder in ("docs", "examples", "skarm"):  # what is built is left beside them
        ignored = shutil.ignore_patterns("_build", "auto_examples", "reference*")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html"]
    result = subprocess.run(
        [*command, "docs", "docs/_build"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    built = tmp_path / "docs" / "_build"
    api = (built / "reference.html").read_text("utf-8")
    assert "ActiveComparisonSampler" in api and "SentenceEmbedder" in api
    assert "greedy_d_optimal" in (built / "guide" / "choosing.html").read_text("utf-8")
    for example in (ROOT / "examples").glob("plot_*.py"):
        assert (built / "auto_examples" / f"{example.stem}.html").exists()
