"""A `Design` of candidate pairs through a fitted model: where estimators end.

Items pass the item steps and the network once a query, however many pairs, rules and
attributes need them.
"""

import weakref
from functools import cache

import numpy as np
from scipy.special import expit
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skarm._data.checks import check_numeric, check_some_pairs, is_comparisons
from skarm._data.enumeration import sample_indices
from skarm._data.items import to_dense
from skarm._information import fisher
from skarm._model.networks import resolve_device, to_torch
from skarm.comparisons import Comparisons
from skarm.strategies import Design

__all__ = ["make_design"]

#: Items per call of an executor.
BLOCK_SIZE = 4096
#: Pairs of a target that are looked at; of more, a random sample this large.
MAX_TARGET_PAIRS = 200_000


def make_design(
    pool,
    index,
    estimator,
    *,
    past=None,
    target=None,
    executor=None,
    whole=False,
    **plan,
):
    """Describe candidates to a strategy, through the model if there is one.

    Parameters
    ----------
    pool : Comparisons
        All pairs.
    index : ndarray of int
        The candidates among them.
    estimator : estimator or None
        Fitted; whatever holds the reward model.
    past : Comparisons or array, default=None
        The comparisons already asked.
    target : Comparisons, array or items, default=None
        What the model will be used on: these pairs, or every pair of these items.
    executor : concurrent.futures.Executor, default=None
        Embeds items in parallel blocks.
    whole : bool, default=False
        Keep every item of a lazy pool, not only those that the candidates name.
    **plan : dict
        Costs, caps and progress, handed on to :class:`Design`.

    Returns
    -------
    design : Design
        Lazy: nothing is embedded yet.
    """
    item_steps, estimator = _open(estimator)
    device = _device_of(estimator)

    def transformed(comparisons):
        for steps in item_steps:
            comparisons = steps.transform(comparisons)
        return comparisons.compact()

    candidates = pool if whole else _at(pool, index)
    chosen = transformed(candidates)
    embed = _embedder(estimator, executor)

    def reward():
        if coef is not None and (is_network or "embedding" in vars(this())):
            rewards = this().tensor("embedding") @ to_torch(coef, device)
            return rewards.cpu().numpy()  # no second forward pass
        return column_or_1d(_map_blocks(executor, estimator.predict, chosen.items))

    def embedded(name, comparisons):
        """What a user passed after the item steps, and its items' embedding."""
        comparisons = transformed(comparisons)
        phi, n_expected = embed(comparisons.items), this().embedding.shape[1]
        if phi.shape[1] != n_expected:
            raise ValueError(
                f"{name} must hold items like the pool's, of {n_expected} features. "
                f"Got {phi.shape[1]}."
            )
        return comparisons, phi

    @cache
    def asked():
        """Items through the network, and pairs, of the comparisons already asked."""
        comparisons = check_some_pairs(past)
        if estimator is None or coef is not None:  # items are not needed again
            rows = _rows(comparisons, candidates, chosen)
            if rows is not None:
                return None, this().embedding, rows
        comparisons, phi = embedded("past", comparisons)
        return comparisons.items, phi, comparisons.pairs

    @cache
    def aimed():
        """The same of the target."""
        comparisons, phi = embedded("target", _as_pairs(target))
        return comparisons.items, phi, _some_pairs(comparisons)

    def information(items, phi, pairs):
        """Σ v x xᵀ."""
        if phi is this().embedding:
            rewards = this().rewards
        elif estimator is None:
            rewards = np.zeros(len(phi))
        else:
            known = phi @ coef if coef is not None else estimator.predict(items)
            rewards = column_or_1d(known)
        gap = rewards[pairs[:, 0]] - rewards[pairs[:, 1]]
        v = to_torch(expit(gap) * expit(-gap), device)
        first, second = to_torch(pairs, device).T
        phi = to_torch(phi, device, this().tensor("embedding").dtype)
        return fisher.information(phi, first, second, v).cpu().numpy()

    def past_information():
        if past is None:
            return _own_information(estimator, this().embedding.shape[1])
        return information(*asked())

    def past_differences():
        _, phi, pairs = asked()
        return np.asarray(phi[pairs[:, 0]] - phi[pairs[:, 1]], dtype=np.float64)

    def target_moment(weighted):
        items, phi, pairs = aimed()
        if weighted:
            return information(items, phi, pairs) / len(pairs)
        first, second = to_torch(pairs, device).T
        phi = to_torch(phi, device, this().tensor("embedding").dtype)
        return fisher.second_moment(phi, first, second).cpu().numpy()

    def past_counts():
        code = {label: i for i, label in enumerate(labels.tolist())}
        counts = np.zeros(len(code))
        if getattr(past, "groups", None) is not None:
            for asked in past.groups[past.pairs].tolist():
                for label in set(asked) & code.keys():
                    counts[code[label]] += 1
        return counts

    coef = getattr(estimator, "coef_", None) if hasattr(estimator, "embed") else None
    is_network = bool(getattr(estimator, "hidden_coefs_", ()))
    groups = chosen.groups
    if groups is not None:
        labels, groups = np.unique(groups, return_inverse=True)
        groups = groups.reshape(-1)
    design = Design(
        chosen[index].pairs if whole else chosen.pairs,
        lambda: embed(chosen.items),
        reward=None if estimator is None else reward,
        coef=coef,
        alpha=getattr(estimator, "alpha_", None),
        heads=getattr(estimator, "head_coefs_", None),
        past=past_information,
        past_differences=None if past is None else past_differences,
        groups=groups,
        past_counts=None if groups is None else past_counts,
        target=None if target is None else target_moment,
        device=device,
        **plan,
    )
    # What is held in a circle stays until Python looks for circles: gigabytes, maybe.
    this = weakref.ref(design)
    return design


def _at(pool, index):
    """The pairs at these indices; the pool itself, if they are all of it in order."""
    if len(index) == len(pool) and not pool.is_lazy:
        if (index == np.arange(len(pool))).all():
            return pool
    return pool[index]


def _rows(comparisons, candidates, chosen):
    """Pairs as rows of the chosen candidates' items; None if those lack an item."""
    if comparisons.items is not candidates.items or candidates.is_lazy:
        return None
    if chosen is candidates:
        return comparisons.pairs
    row = np.full(candidates.n_items, -1)
    row[candidates.pairs] = chosen.pairs
    pairs = row[comparisons.pairs]
    return pairs if (pairs >= 0).all() else None


def _embedder(estimator, executor):
    """Items to last-layer features: themselves, before there is a model."""
    if estimator is None:

        def embed(items):
            are_finite = check_numeric(items, "a query without an estimator")
            items = check_array(
                items,
                accept_sparse="csr",
                dtype=np.float64,
                ensure_all_finite=not are_finite,
            )
            return to_dense(items)

        return embed

    def embed(items):
        if not hasattr(estimator, "embed"):
            raise TypeError(
                "this strategy needs an estimator with embed(items), such as "
                f"BradleyTerryRegressor. Got {type(estimator).__name__}."
            )
        return _map_blocks(executor, estimator.embed, items)

    return embed


def _own_information(estimator, n_embedding):
    """Fisher information that the estimator kept; zeros where it has none."""
    information = getattr(estimator, "information_", np.zeros((n_embedding,) * 2))
    if information is None:
        raise ValueError(
            "past must be given, because the estimator kept no information_ "
            "(its embedding is too wide). Got None. Pass the comparisons "
            "asked so far, or reduce the items first."
        )
    return information


def _as_pairs(target):
    """A target as comparisons: every pair of it, if it is items."""
    pairs = target if is_comparisons(target) else Comparisons.all_pairs(target)
    if not len(pairs):
        raise ValueError(
            "target must be comparisons, at least one, or two items or more. Got "
            f"{pairs!r}."
        )
    return check_some_pairs(pairs)


def _some_pairs(comparisons):
    """Its pairs, or a fixed random sample of very many."""
    if len(comparisons) <= MAX_TARGET_PAIRS:
        return comparisons.pairs
    rng = np.random.RandomState(0)
    return comparisons[sample_indices(len(comparisons), MAX_TARGET_PAIRS, rng)].pairs


def _open(estimator):
    """The item steps (fitted pipelines), and the fitted model that follows them."""
    item_steps = []
    if estimator is not None:
        check_is_fitted(estimator)
    while True:
        if hasattr(estimator, "best_estimator_"):  # a search
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "teach") and hasattr(estimator, "estimator_"):
            # A learner. Without teach, estimator_ is an ensemble's unfitted template.
            estimator = estimator.estimator_
        elif isinstance(estimator, Pipeline):
            item_steps += [estimator[:-1]] if len(estimator) > 1 else []
            estimator = estimator[-1]
        else:
            return item_steps, estimator


def _device_of(estimator):
    """The model's device, or the CPU where it is not here or means something else."""
    try:
        return resolve_device(getattr(estimator, "device", None) or "auto")
    except (TypeError, ValueError):
        return resolve_device("cpu")


def _map_blocks(executor, function, items):
    if executor is None or items.shape[0] <= BLOCK_SIZE:
        return function(items)
    starts = range(0, items.shape[0], BLOCK_SIZE)
    blocks = [items[start : start + BLOCK_SIZE] for start in starts]
    return np.concatenate(list(executor.map(function, blocks)))
