"""What comparisons and learners show of themselves."""

from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import sparse

from skarm import (
    ActiveComparisonSampler,
    ActiveRewardLearner,
    BradleyTerryRegressor,
    Comparisons,
)

TEXTS = [
    "Yes & no.",
    "<b>Bold</b>  claims",
    "A long answer " * 20,
    "Four",
    "Five",
    "Six",
]


class Reader(HTMLParser):
    """Cells of a table; every tag must be closed in its turn."""

    def __init__(self):
        super().__init__()
        self.cells, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def read(comparisons):
    reader = Reader()
    reader.feed(comparisons._repr_html_())
    assert reader.open == []
    return reader


def test_a_notebook_shows_a_few_pairs_beside_each_other():
    pool = Comparisons.all_pairs(TEXTS, groups=list("aaabbb"), scope="within")
    reader = read(pool)
    assert reader.cells[0] == "0 Yes & no. (group a)"
    assert reader.cells[1] == "1 <b>Bold</b> claims (group a)"
    assert len(reader.cells) == 2 * 5 + 1 and reader.cells[-1] == "… 1 more"
    assert max(map(len, reader.cells)) < 100
    assert "more" not in read(pool[:5]).cells[-1]
    assert "6 texts" in pool._repr_html_()


@pytest.mark.parametrize("kind", ["array", "sparse", "frame"])
def test_items_of_numbers_are_shown_by_their_first_features(kind):
    items = np.arange(20.0).reshape(4, 5) / 3
    if kind == "sparse":
        items = sparse.csr_array(items)
    if kind == "frame":
        items = pytest.importorskip("pandas").DataFrame(items)
    reader = read(Comparisons(items, [[1, 0]]))
    assert reader.cells == ["1 [1.67, 2, 2.33, …]", "0 [0, 0.333, 0.667, …]"]


def test_a_vast_pool_is_shown_at_once():
    pool = Comparisons.all_pairs(np.zeros((1_000_000, 1)))
    assert repr(pool).endswith("every pair of 'all': (0, 1), (0, 2), (0, 3), ...)")
    assert read(pool).cells[-1] == "… 499,999,499,995 more"


def test_a_learner_shows_asked_left_and_last_score():
    rng = np.random.default_rng(0)
    pool = Comparisons.all_pairs(rng.standard_normal((8, 2)))  # 28 pairs
    learner = ActiveRewardLearner(
        BradleyTerryRegressor(), ActiveComparisonSampler("random", random_state=0)
    )
    assert "#" not in repr(learner)
    for n_round in range(2):
        _, asked = learner.query(pool, n_pairs=5)
        learner.teach(asked, [1, 0, 1, 0, np.nan])
        assert learner.n_left_ == 28 - 5 * (n_round + 1)
    score = learner.history_[-1]["accuracy_before"]
    progress = (
        "asked 10 (2 skipped), left 18, accuracy on the last answers before "
        f"learning {score:.2f}"
    )
    assert repr(learner).endswith(f"  # {progress}")
    bundle = learner._repr_mimebundle_()
    assert progress in bundle["text/html"] and progress in bundle["text/plain"]
    learner.set_params(budget=16).query(pool, n_pairs=2)
    assert learner.n_left_ == 4


def test_a_replay_shows_what_its_budget_left():
    rng = np.random.default_rng(0)
    pool = Comparisons.all_pairs(rng.standard_normal((8, 2)))
    learner = ActiveRewardLearner(
        BradleyTerryRegressor(),
        ActiveComparisonSampler(random_state=0),
        budget=20,
        n_initial=10,
    )
    learner.fit(pool, np.arange(28) % 2)
    assert learner.n_left_ == 0 and "asked 20, left 0" in repr(learner)
