"""Coresets, k-center and BADGE by their definitions, and against scikit-activeml."""

from types import SimpleNamespace

import numpy as np
import pytest
from problems import fitted, query
from scipy.special import expit

from skarm import Comparisons
from skarm.strategies import Design, badge, coreset, k_center
from skarm.strategies.diversity import sensitivities

SEEDS = range(4)


def design_of(x, rewards=None, past=None):
    """A design whose candidates have the rows of x as differences."""
    n = len(x)
    items = np.vstack([x, np.zeros((1, x.shape[1]))])
    pairs = np.column_stack([np.arange(n), np.full(n, n)])
    reward = None if rewards is None else (lambda: np.append(rewards, 0.0))
    known = None if past is None else (lambda: past)
    return Design(pairs, lambda: items, reward=reward, past_differences=known)


def rng_of(seed):
    return np.random.RandomState(seed)


# ---------------------------------------------------------------------------- coreset


def by_definition(z, labels, radius):
    """m(z) of lemma 3.1 for a clustering of the rows of z, one point at a time."""
    m = np.empty(len(z))
    for n in range(len(z)):
        total = 1.0
        for label in np.unique(labels):
            others = np.flatnonzero((labels == label) & (np.arange(len(z)) != n))
            if len(others):
                gap = np.linalg.norm(z[others].mean(axis=0) - z[n])
                total += len(others) * np.exp(-radius * gap)
        m[n] = len(z) / total
    return m


def clusters_of(x, sensitivity, n_clusters, radius):
    """The clustering (up to sign) that the sensitivities must come from, by search.

    Both signs of every difference, clustered as ±c: all assignments to oriented
    clusters of a small problem are tried.
    """
    n = len(x)
    doubled = np.vstack([x, -x])
    for code in range((2 * n_clusters) ** n):
        digits = code // (2 * n_clusters) ** np.arange(n) % (2 * n_clusters)
        mirrored = (digits + n_clusters) % (2 * n_clusters)
        m = by_definition(doubled, np.concatenate([digits, mirrored]), radius)
        np.testing.assert_allclose(m[:n], m[n:])
        if np.allclose(m[:n], sensitivity, rtol=1e-8):
            return digits
    return None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("radius", [0.3, 1.0])
def test_sensitivities_are_the_lemmas_for_some_clustering_into_mirrored_halves(
    radius, seed
):
    x = np.random.default_rng(seed).standard_normal((5, 2))
    found = sensitivities(design_of(x), rng=rng_of(seed), n_clusters=2, radius=radius)
    assert clusters_of(x, found, 2, radius) is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_well_separated_clusters_are_found_and_give_the_lemmas_values(seed):
    rng = np.random.default_rng(seed)
    centers = 30 * np.linalg.qr(rng.standard_normal((5, 5)))[0][:3]
    labels = np.arange(60) % 3
    x = centers[labels] + rng.standard_normal((60, 5))
    sign = rng.choice([-1, 1], 60)
    z, both = np.vstack([x, -x]), np.concatenate([labels, labels + 3])
    expected = by_definition(z, both, 0.5)[:60]
    design = design_of(x * sign[:, None])
    found = sensitivities(design, rng=rng_of(seed), n_clusters=3, radius=0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_cluster_needs_no_search(seed):
    """With k = 1 the sign of xᵀ c tells the halves apart, here always the same."""
    x = np.random.default_rng(seed).uniform(0.5, 1, (40, 3))
    z = np.vstack([x, -x])
    expected = by_definition(z, np.repeat([0, 1], 40), 2.0)[:40]
    found = sensitivities(design_of(x), rng=rng_of(0), n_clusters=1, radius=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_holds(seed):
    """σ(z) = sup over ‖θ‖ <= R of N f(z; θ) / Σ f, f = log(1 + exp(-zᵀθ)), is below m.

    The supremum over 2,000 directions and lengths is a lower bound on σ.
    """
    rng = np.random.default_rng(seed)
    x = 3 * rng.standard_normal((30, 3))
    z = np.vstack([x, -x])
    theta = rng.standard_normal((2000, 3))
    theta *= rng.random((2000, 1)) / np.linalg.norm(theta, axis=1, keepdims=True)
    loss = np.logaddexp(0, -z @ theta.T)
    sigma = (len(z) * loss / loss.sum(axis=0)).max(axis=1)
    m = sensitivities(design_of(x), rng=rng_of(seed), n_clusters=4)
    assert (np.maximum(sigma[:30], sigma[30:]) <= m).all()


def test_sensitivities_ignore_order_within_pairs_and_lie_between_1_and_n():
    x = np.random.default_rng(0).standard_normal((50, 4))
    x[:5] *= 40
    sign = np.random.default_rng(1).choice([-1, 1], 50)
    one, other = (
        sensitivities(design_of(s * x), rng=rng_of(0)) for s in (1, sign[:, None])
    )
    np.testing.assert_allclose(one, other, rtol=1e-12)
    assert 1 <= one.min() < one[5:].max() < one[:5].min() <= one.max() <= 100


def test_a_coreset_is_drawn_one_by_one_in_proportion_to_sensitivity():
    """The law of the first two, in 2,500 draws; five standard errors."""
    x = np.random.default_rng(0).standard_normal((6, 2)) * [
        [1],
        [1],
        [2],
        [3],
        [4],
        [6],
    ]
    design, rng = design_of(x), rng_of(0)
    m = sensitivities(design, rng=rng_of(0), n_clusters=1)
    np.testing.assert_allclose(m, sensitivities(design, rng=rng_of(5), n_clusters=1))
    draws = np.array(
        [coreset(design, 2, rng=rng, n_clusters=1).positions for _ in range(2500)]
    )
    p = m / m.sum()
    second = (p[:, None] * p / (1 - p[:, None])) * (1 - np.eye(6))
    for k, expected in enumerate([p, second.sum(axis=0)]):
        share = np.bincount(draws[:, k], minlength=6) / 2500
        error = np.sqrt(expected * (1 - expected) / 2500)
        assert (np.abs(share - expected) < 5 * error).all()


# ---------------------------------------------------------------------------- k-center


def farthest_first(x, n_pairs, past=()):
    """Every distance afresh, for every pick."""
    picks, distances = [], []
    for _ in range(n_pairs):
        centers = np.vstack([*past, *x[picks]]) if len(past) or picks else None
        if centers is None:
            away = np.linalg.norm(x, axis=1)
        else:
            gaps = [
                np.linalg.norm(x[:, None] + s * centers, axis=2).min(axis=1)
                for s in (-1, 1)
            ]
            away = np.minimum(*gaps)
        away[picks] = -1
        picks.append(int(away.argmax()))
        distances.append(away[picks[-1]])
    return picks, distances


@pytest.mark.parametrize("with_past", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_k_center_is_farthest_first_with_both_signs(seed, with_past):
    rng = np.random.default_rng(seed)
    x, past = rng.standard_normal((120, 4)), rng.standard_normal((40, 4))
    expected = farthest_first(x, 40, past if with_past else ())
    design = design_of(x, rewards=x[:, 0], past=past if with_past else None)
    picks = k_center(design, 40, rng=rng_of(seed))
    assert picks.positions.tolist() == expected[0]
    np.testing.assert_allclose(picks.utilities, expected[1], rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_k_center_starts_from_the_pairs_already_asked(seed):
    """Through a sampler; triangles of items make exact ties, so distances decide."""
    pool, asked, model = fitted(seed)
    x, past = pool.differences(), asked.differences()
    for known, given in ((past, asked), ((), None)):
        for estimator in (None, model):
            _, distances = query("k_center", pool, 20, past=given, estimator=estimator)
            expected = farthest_first(x, 20, known)[1]
            np.testing.assert_allclose(distances, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_k_center_covers_within_twice_the_best_radius(seed):
    """Against the best of all 3-subsets."""
    from itertools import combinations

    x = np.random.default_rng(seed).standard_normal((14, 2))
    gaps = np.minimum(*(np.linalg.norm(x[:, None] + s * x, axis=2) for s in (-1, 1)))

    def radius(centers):
        return gaps[:, list(centers)].min(axis=1).max()

    best = min(radius(centers) for centers in combinations(range(14), 3))
    picks = k_center(design_of(x), 3, rng=rng_of(seed)).positions
    assert best <= radius(picks) <= 2 * best + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_k_center_is_scikit_activemls_core_set_where_signs_do_not_matter(seed):
    """On positive vectors -x' is never the nearer, and with a past nothing is drawn."""
    pool = pytest.importorskip("skactiveml.pool")
    x = np.random.default_rng(seed).random((80, 3))
    y = np.full(80, np.nan)
    y[:5] = 0
    theirs = pool.CoreSet(random_state=0).query(X=x, y=y, batch_size=30)
    ours = k_center(design_of(x[5:], past=x[:5]), 30, rng=rng_of(0))
    np.testing.assert_array_equal(ours.positions + 5, theirs)


# ------------------------------------------------------------------------------- badge


def gradient_embeddings(x, rewards):
    """(p - ŷ) x, as autograd would give it for the loss of the likelier answer."""
    p = expit(rewards)
    return (p - (p > 0.5))[:, None] * x


@pytest.mark.parametrize("seed", SEEDS)
def test_the_gradient_is_autograds_and_stays_when_the_pair_is_swapped(seed):
    import torch

    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((20, 3)), rng.standard_normal(3)
    for sign in (1, -1):
        coef = torch.tensor(w, requires_grad=True)
        for row in sign * x:
            logit = torch.as_tensor(row) @ coef
            answer = (logit > 0).double()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, answer)
            (gradient,) = torch.autograd.grad(loss, coef)
            ours = gradient_embeddings(row[None], np.array([row @ w]))[0]
            np.testing.assert_allclose(gradient.numpy(), ours, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(
        gradient_embeddings(x, x @ w), gradient_embeddings(-x, -x @ w)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_badge_reports_the_squared_distance_of_gradients_when_it_picked(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((50, 4))
    rewards = x @ rng.standard_normal(4)
    picks, utilities, _ = badge(design_of(x, rewards), 20, rng=rng_of(seed))
    g = gradient_embeddings(x, rewards)
    squares = (g**2).sum(axis=1)
    assert picks[0] == squares.argmax()
    assert utilities[0] == pytest.approx(squares.max())
    for k in range(1, 20):
        nearest = ((g[picks[k]] - g[picks[:k]]) ** 2).sum(axis=1).min()
        assert utilities[k] == pytest.approx(nearest, rel=1e-8)


def law_of_picks(g, n_pairs, origin_counts=False):
    """Probability of every ordered batch under k-means++ seeding, by enumeration.

    The longest is first; the origin may count as one more that is there already.
    """
    first = (g**2).sum(axis=1).argmax()
    law = {(int(first),): 1.0}
    for _ in range(n_pairs - 1):
        longer = {}
        for batch, p in law.items():
            centers = np.vstack([g[list(batch)], 0 * g[:origin_counts]])
            gaps = ((g[:, None] - centers) ** 2).sum(axis=2).min(axis=1)
            for i in np.flatnonzero(gaps):
                longer[(*batch, int(i))] = p * gaps[i] / gaps.sum()
        law = longer
    return law


def frequencies(batches):
    found, counts = np.unique(batches, axis=0, return_counts=True)
    return {
        tuple(map(int, batch)): count / len(batches)
        for batch, count in zip(found, counts, strict=True)
    }


def largest_excess(share, law, n_draws):
    """The largest deviation of a frequency from its law, in standard errors."""
    assert set(share) <= set(law)
    return max(
        abs(share.get(batch, 0.0) - p) / np.sqrt(p * (1 - p) / n_draws + 1e-12)
        for batch, p in law.items()
    )


def test_badge_follows_the_law_of_k_means_plus_plus_as_scikit_activemls_does():
    """The frequency of every ordered batch of 3 of 5.

    60 batches at most, so five standard errors are a fair limit. Their gradients have
    two blocks, g and -g: all squared distances are doubled, which changes no law. After
    its first pick scikit-activeml 1.0 keeps ‖g‖² as a distance, so that to it the
    origin is a center; in the authors' code, and here, it is not.
    """
    pool = pytest.importorskip("skactiveml.pool")
    classifiers = pytest.importorskip("skactiveml.classifier")
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x, past = rng.standard_normal((5, 2)), rng.standard_normal((30, 2))
    y = (past @ [1.0, -0.5] > 0).astype(int)
    head = linear.LogisticRegression(fit_intercept=False)
    model = classifiers.SklearnClassifier(head, classes=[0, 1]).fit(past, y)
    rewards = x @ head.fit(past, y).coef_[0]
    g = gradient_embeddings(x, rewards)
    design, state, n = design_of(x, rewards), rng_of(0), 4000
    ours = [badge(design, 3, rng=state).positions for _ in range(n)]
    assert largest_excess(frequencies(ours), law_of_picks(g, 3), n) < 5
    assert largest_excess(frequencies(ours), law_of_picks(g, 3, True), n) > 5
    n = 600
    theirs = [
        pool.Badge(random_state=k).query(
            *(past, y, model), candidates=x, fit_clf=False, batch_size=3
        )
        for k in range(n)
    ]
    assert largest_excess(frequencies(theirs), law_of_picks(g, 3, True), n) < 5


def test_where_p_is_a_half_the_nearer_of_both_gradients_counts():
    """In a cold start x and -x are one question: the batch must not hold both."""
    x = np.array([[3.0, 0.0], [-3.0, 1e-9], [0.0, 1.0], [1e-9, -1.0]])
    for seed in range(20):
        picks = badge(design_of(x), 2, rng=rng_of(seed)).positions
        assert picks[0] in (0, 1) and picks[1] in (2, 3)
    # With a model, the likelier answers tell them apart.
    rewards = np.array([1.0, 1.0, 1.0, 1.0])
    seen = {
        tuple(sorted(badge(design_of(x, rewards), 2, rng=rng_of(k)).positions))
        for k in range(40)
    }
    assert (0, 1) in seen


# --------------------------------------------------------------------------------- all


# Not coreset, which draws every pair by its own sensitivity.
@pytest.mark.parametrize("rule", [k_center, badge])
def test_copies_fill_a_batch_only_when_nothing_else_is_left(rule):
    x = np.repeat(np.random.default_rng(0).standard_normal((6, 3)), 4, axis=0)
    for seed in range(5):
        picks = rule(design_of(x, x[:, 0]), 24, rng=rng_of(seed)).positions
        assert set(picks[:6] // 4) == set(range(6))
        assert set(picks) == set(range(24))


@pytest.mark.parametrize("rule", ["coreset", "k_center", "badge"])
def test_rules_read_no_more_than_they_say(rule):
    """The embedding; BADGE the rewards too; never the information of the past."""

    class Guarded(Design):
        def __getattribute__(self, name):
            assert name not in ("past_information", "posterior", "alpha")
            assert name != "rewards" or rule == "badge"
            return super().__getattribute__(name)

    x = np.random.default_rng(0).standard_normal((30, 3))
    base = design_of(x, x[:, 0])
    design = Guarded(base.pairs, base._embed, reward=base._reward)
    chosen = {"coreset": coreset, "k_center": k_center, "badge": badge}[rule]
    assert len(set(chosen(design, 10, rng=rng_of(0)).positions)) == 10


def test_costs_weigh_in_the_draws_and_the_distances():
    pool, asked, model = fitted(0)
    costs = SimpleNamespace(
        high=np.where(np.arange(len(pool)) % 2, 1e9, 1.0), flat=np.full(len(pool), 3.0)
    )
    from skarm import ActiveComparisonSampler

    for rule in ("coreset", "k_center", "badge"):
        sampler = ActiveComparisonSampler(rule, random_state=0)
        given = {"estimator": model, "past": asked, "n_pairs": 20}
        assert (sampler.query(pool, cost=costs.high, **given) % 2 == 0).all()
        flat = sampler.query(pool, cost=costs.flat, **given)
        np.testing.assert_array_equal(flat, sampler.query(pool, **given))


def test_far_outliers_attract_k_center_and_coresets():
    """What to know before using them: the longest differences come first."""
    rng = np.random.default_rng(0)
    items = np.vstack([rng.standard_normal((60, 4)), 50 * rng.standard_normal((3, 4))])
    pool = Comparisons.random_pairs(items, 400, random_state=0)
    outlying = (pool.pairs >= 60).any(axis=1)
    assert outlying[query("k_center", pool, 3)[0]].all()
    share = outlying[query("coreset", pool, 40)[0]].mean()
    assert share > 3 * outlying.mean()
