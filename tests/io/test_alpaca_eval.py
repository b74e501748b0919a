"""AlpacaEval annotations."""

import numpy as np
import pytest
from hypothesis import given, settings
from preference_data import preferences, rows_of, through_json

from skarm.io import (
    read_alpaca_eval,
    read_comparisons,
    read_responses,
    write_alpaca_eval,
)

ROW = {
    "instruction": "How far?",
    "output_1": "Far.",
    "generator_1": "text_davinci_003",
    "dataset": "helpful_base",
    "output_2": "Two miles.",
    "generator_2": "alpaca-7b",
    "annotator": "weighted_alpaca_eval_gpt4_turbo",
    "preference": 1.9,
}


@given(preferences(shares=True, annotators=True))
@settings(deadline=None)
def test_annotations_come_back_to_the_last_place_of_two(data):
    back = rows_of(read_alpaca_eval(through_json(write_alpaca_eval(data))))
    wanted = rows_of(data)
    for row, other in zip(back, wanted, strict=True):
        assert abs(row.pop("y") - other.pop("y")) <= np.spacing(2.0)
    assert back == wanted


def test_a_file_of_annotations_comes_back():
    rows = [ROW, {**ROW, "preference": 1.5}, {**ROW, "preference": 1}]
    data = read_alpaca_eval(rows)
    assert np.allclose(data.y, [0.1, 0.5, 1.0], atol=1e-15)
    for row, wanted in zip(write_alpaca_eval(data), rows, strict=True):
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, abs=1e-15)


def test_draws_of_early_files_and_judges_without_an_answer():
    rows = [{**ROW, "preference": p} for p in (0, None, "nan", 2)]
    data = read_alpaca_eval(rows)
    assert data.y.tolist() == [0.5, 0]
    assert data.report.reasons == {"the judge gave no preference": ["row 2", "row 3"]}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"preference": 3}, "'preference' must hold a number from 0 to 2. Got 3"),
        ({"preference": 0.5}, "'preference' must be 1 to 2, or 0 for a draw. Got 0.5"),
        ({"output_1": None}, "'output_1' must hold a text or messages"),
    ],
)
def test_malformed_rows_say_what_must_hold(change, message):
    with pytest.raises(ValueError, match=message + r".*Row 1 of"):
        read_alpaca_eval([{**ROW, **change}])


def test_one_instruction_per_annotation():
    row = {"prompt": "p", "first": "a", "second": "b", "second_prompt": "q", "y": 1}
    with pytest.raises(ValueError, match=r"one instruction. Got a pair across prompts"):
        write_alpaca_eval(read_comparisons([row]))


def test_real_judgements_make_the_round_trip(shared_data):
    """Each response against the baseline's: the golden is the judge's log-odds."""
    path = shared_data / "alpacaeval_public.jsonl.gz"
    data = read_responses(path, rating="golden")
    models, golden = data.columns["model"], data.ratings
    baseline = dict(zip(data.groups, data.responses, strict=True)) | {
        data.groups[k]: data.responses[k]
        for k in np.flatnonzero(models == "gpt4_1106_preview")
    }
    rows = [
        {
            **ROW,
            "instruction": data.prompts[k],
            "output_1": baseline[data.groups[k]],
            "output_2": data.responses[k],
            "generator_2": models[k],
            "id": int(k),
            "preference": 1 + 1 / (1 + np.exp(-golden[k])),
            "prompt_id": data.groups[k],
        }
        for k in np.flatnonzero(models != "gpt4_1106_preview")[:2000]
    ]
    read = read_alpaca_eval(rows)
    assert len(read) + read.report.n_skipped == 2000
    back = rows_of(read_alpaca_eval(through_json(write_alpaca_eval(read))))
    for row, other in zip(back, rows_of(read), strict=True):
        assert abs(row.pop("y") - other.pop("y")) <= np.spacing(2.0)
        assert row == other
