"""The examples run as a person would run them."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from skarm.datasets import load_assistant_answers

QUICKSTART = Path(__file__).resolve().parents[1] / "examples" / "quickstart.py"


def quickstart(folder, *args, answers="", check=True):
    return subprocess.run(
        [sys.executable, QUICKSTART, *map(str, args)],
        cwd=folder,
        input=answers,
        capture_output=True,
        text=True,
        check=check,
        timeout=600,
    )


def assert_table_and_picture(result, folder):
    for word in ("random", "paper's d_optimal", "skarm default", "Spearman per prompt"):
        assert word in result.stdout
    assert "Most preferred" in result.stdout and "Least preferred" in result.stdout
    assert (folder / "quickstart.png").read_bytes()[:4] == b"\x89PNG"


def test_quickstart_prints_the_table_and_draws_the_picture(tmp_path):
    result = quickstart(tmp_path, "--seeds", 2, "--rounds", 3)
    assert_table_and_picture(result, tmp_path)


def test_quickstart_asks_saves_every_answer_and_goes_on(tmp_path):
    args = ("--ask", "--rounds", 2, "--pairs", 3)
    first = quickstart(tmp_path, *args, answers="1\n2\n")  # then the input ends
    saved = tmp_path / "quickstart_answers.jsonl"
    assert len(saved.read_text().splitlines()) == 2
    assert "Most preferred" in first.stdout
    second = quickstart(tmp_path, *args, answers="t\n1\n2\n1\n")
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    assert len(lines) == 6
    assert "Most preferred" in second.stdout


def test_quickstart_on_recorded_human_answers(tmp_path, shared_data):
    data = shared_data / "hh_harmless_public.jsonl.gz"
    result = quickstart(tmp_path, "--data", data, "--seeds", 1, "--rounds", 2)
    assert_table_and_picture(result, tmp_path)


@pytest.mark.slow
def test_quickstart_on_thirteen_thousand_real_responses(tmp_path, shared_data):
    data = shared_data / "alpacaeval_public.jsonl.gz"
    args = ("--reward", "golden_wide", "--temperature", 3, "--seeds", 1, "--rounds", 2)
    result = quickstart(tmp_path, "--data", data, *args)
    assert_table_and_picture(result, tmp_path)


def test_quickstart_says_what_is_missing(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,response,stars\na,b,1\na,c,2\n")
    result = quickstart(tmp_path, "--data", path, check=False)
    assert result.returncode != 0 and "--reward COLUMN" in result.stderr
    for reward in ("x", "response"):
        args = ("--data", path, "--reward", reward)
        result = quickstart(tmp_path, *args, check=False)
        assert result.returncode != 0 and "must name a column" in result.stderr
    path.write_text("question,answer\na,b\n")
    result = quickstart(tmp_path, "--data", path, "--ask", check=False)
    assert "column 'prompt' must hold a text" in result.stderr
    assert "the columns are ['question', 'answer']" in result.stderr
    assert "Traceback" not in result.stderr


def test_quickstart_asks_a_small_pool_to_its_end(tmp_path):
    data = load_assistant_answers()
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "response", "stars"])
        rows = zip(data.prompts, data.responses, data.ratings, strict=True)
        writer.writerows(list(rows)[:60])
    args = ("--data", path, "--reward", "stars", "--seeds", 1, "--pairs", 20)
    result = quickstart(tmp_path, *args)
    assert_table_and_picture(result, tmp_path)


def test_saved_answers_do_not_pass_to_other_texts(tmp_path):
    quickstart(tmp_path, "--ask", "--rounds", 1, "--pairs", 2, answers="1\n1\n")
    path = tmp_path / "mine.csv"
    words = [f"{a}{b}{c}" for a in "abcdef" for b in "xyzuvw" for c in "klmnop"]
    rows = [f"Question {k // 6}?,answer {word}" for k, word in enumerate(words * 3)]
    path.write_text("\n".join(["prompt,response", *rows]))
    result = quickstart(tmp_path, "--ask", "--data", path, check=False)
    assert "about other texts" in result.stderr


def test_the_displays_are_drawn(tmp_path):
    path = QUICKSTART.with_name("plot_displays.py")
    run = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Picture: displays.png" in run.stdout
    assert (tmp_path / "displays.png").read_bytes()[:4] == b"\x89PNG"


def test_every_strategy_is_drawn(tmp_path):
    script = QUICKSTART.with_name("plot_strategies.py")
    command = [sys.executable, script, "--pairs", "5", "--output", "picture.png"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
