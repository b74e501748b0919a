"""The registry: names, aliases, and the table of strategies."""

import numpy as np
import pytest
from scipy.special import expit

import skarm.strategies
from skarm import ActiveComparisonSampler, Comparisons
from skarm.strategies import Design, get_strategy, get_strategy_names, strategy_table
from skarm.strategies._registry import ALIASES, AUTO, register

NAMES = get_strategy_names()


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_can_be_imported_and_documents_its_cost_and_source(name):
    function = get_strategy(name)
    assert getattr(skarm.strategies, name) is function
    assert name in skarm.strategies.__all__
    assert "Cost" in function.__doc__ or "cost" in function.__doc__
    assert ".. [1]" in function.__doc__ or name == "random"


def test_the_table_has_a_row_per_strategy_and_says_what_the_registry_says():
    lines = strategy_table().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in cells} == {7}
    assert [row[0] for row in cells[2:]] == [f"`{name}`" for name in NAMES]
    frame = strategy_table("frame")
    assert frame["name"].tolist() == NAMES
    assert list(frame.columns[1:]) == [c.replace(" ", "_") for c in _words(cells[0])]
    for row, (_, facts) in zip(cells[2:], frame.iterrows(), strict=True):
        for cell, fact in zip(row[1:], facts[1:], strict=True):
            assert cell == {True: "yes", False: "no"}.get(fact, fact)
    assert (frame[["family", "cost", "source"]] != "").all().all()


def _words(header):
    return [column.replace("-", " ") for column in header[1:]]


def test_the_table_is_text_or_a_frame():
    with pytest.raises(ValueError, match=r"format must be 'markdown' or .* Got 'x'"):
        strategy_table("x")


def test_a_frame_without_pandas_names_the_extra(monkeypatch):
    def hide(name):
        raise ImportError(name)

    monkeypatch.setattr("skarm._optional.import_module", hide)
    message = r"strategy_table\(format='frame'\) needs pandas.*skarm\[parquet\]"
    with pytest.raises(ImportError, match=message):
        strategy_table("frame")


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_its_strategy_with_the_parameters_filled_in(alias):
    name, params, why = ALIASES[alias]
    assert why
    assert alias not in NAMES
    function = get_strategy(alias)
    if params:
        assert function.func is get_strategy(name)
        assert function.keywords == params
    else:
        assert function is get_strategy(name)


@pytest.mark.parametrize("seed", range(3))
def test_adpo_is_the_greedy_log_det_of_plug_in_information(seed):
    rng = np.random.default_rng(seed)
    items, w = rng.standard_normal((20, 3)), rng.standard_normal(3)
    pool = Comparisons.random_pairs(items, 30, random_state=seed)
    design = Design(
        *(pool.pairs, lambda: items), reward=lambda: items @ w, coef=w, alpha=0.5
    )
    picks = get_strategy("adpo")(design, 4, rng=np.random.RandomState(0))
    taken, H = [], 0.5 * np.eye(3)
    z = pool.differences()
    p = expit(z @ w)
    for position in picks.positions:
        grown = H + (p * (1 - p))[:, None, None] * z[:, :, None] * z[:, None]
        log_det = np.linalg.slogdet(grown)[1]
        log_det[taken] = -np.inf
        assert position == log_det.argmax()
        H = grown[position]
        taken.append(position)


def test_auto_names_a_registered_strategy():
    assert get_strategy("auto") is get_strategy(AUTO)


def test_unknown_names_raise_and_list_the_aliases():
    with pytest.raises(ValueError, match=r"or an alias of one, \['a.*Got 'best'"):
        ActiveComparisonSampler("best").query([[[0.0], [1.0]]])


def test_registering_leaves_the_function_as_it_was(monkeypatch):
    monkeypatch.setattr("skarm.strategies._registry._REGISTRY", {})

    def mine(design, n_pairs, *, rng):
        return range(n_pairs)

    facts = dict.fromkeys(["needs_model", "needs_posterior", "batch_aware"], False)
    assert register(**facts, cost="O(k)", source="me", family="own")(mine) is mine
    assert get_strategy_names("own") == ["mine"] == get_strategy_names()
    assert get_strategy("mine") is mine
