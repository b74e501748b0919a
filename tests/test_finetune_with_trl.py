"""The example that goes from picks to a language model fine-tuned by TRL."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from skarm.datasets import load_assistant_answers

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "finetune_with_trl.py"


def run(folder, *args, hide=None):
    code = "" if hide is None else f"sys.modules[{hide!r}] = None\n"
    code = f"import runpy, sys\n{code}sys.argv = {[str(EXAMPLE), *args]!r}\n"
    code += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_trl_learns_from_what_skarm_asked_and_both_rank_alike(tmp_path):
    pytest.importorskip("trl")
    result = run(tmp_path, "--out", "rows.jsonl")
    assert result.returncode == 0, result.stderr

    data = load_assistant_answers()
    answers = {}
    for prompt, response in zip(data.prompts, data.responses, strict=True):
        answers.setdefault(prompt, set()).add(response)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    assert len(rows) == 200
    for row in rows:
        pair = {row["chosen"].strip(), row["rejected"].strip()}
        assert len(pair) == 2
        assert pair <= {
            answer.strip() for answer in answers[row["prompt"].removesuffix("\n\n")]
        }

    losses = re.search(r"loss per epoch: (.*)", result.stdout)[1].split()
    assert float(losses[-1]) < 0.5 < float(losses[0])  # log 2 says nothing
    lines = re.findall(
        r"skarm and TRL (\S+); .* skarm (\S+) and TRL (\S+)", result.stdout
    )
    assert len(lines) == 2
    assert min(float(number) for line in lines for number in line) > 0.1


def test_without_trl_the_example_says_what_to_install(tmp_path):
    result = run(tmp_path, "--rounds", "1", "--pairs", "2", hide="trl")
    assert result.returncode != 0
    assert "finetune_with_trl.py needs trl, which is not installed" in result.stderr
    assert "pip install 'skarm[trl]'" in result.stderr
