"""Design: all that a strategy may know about the candidate pairs.

Read-only, and lazy: a strategy pays only for what it reads, and `random` reads
nothing. NumPy throughout; `Design.tensor` is the only way to the device.
"""

from copy import copy
from functools import cached_property

import numpy as np
import torch
from sklearn.utils import check_random_state

from skarm._information import fisher
from skarm._information.pair_lengths import PairGraph, squared_distances
from skarm._model.networks import to_torch
from skarm._model.posterior import LastLayerPosterior, mean_bernoulli_variance
from skarm._model.prior import as_matrix

__all__ = ["COLD_START_SD", "Design"]

#: What is about the candidates, and not about items, model or past.
_OF_PAIRS = {
    *("reward_differences", "variances", "reward_difference_variances", "lengths"),
    *("posterior_variances", "graph", "second_moment", "moment_factor"),
    *("target_moment", "target_information"),
}

#: What follows from the embedding.
_OF_EMBEDDING = {
    *("_centered", "white", "reward_difference_variances", "posterior_variances"),
    *("lengths", "second_moment", "moment_factor", "prior", "posterior"),
    *("target_moment", "target_information"),
}

#: Without a model, the prior precision is such that the reward difference of a typical
#: candidate pair has this prior standard deviation, in nats.
COLD_START_SD = 1.5

#: Lengths, in medians, below which an item is as good as at the center.
TINY = 1e-9


class Design:
    """What a model says about the pairs that may be asked.

    Parameters
    ----------
    pairs : ndarray of shape (n_pairs, 2)
        Candidates, as rows of the embedding.
    embed : callable
        Returns the embedding (n_items, d) of the items the candidates name.
    reward : callable or None
        Returns their rewards (n_items,); None before there is a model (cold start).
    coef : ndarray of shape (d,), default=None
        Last layer.
    alpha : float or ndarray of shape (d,) or (d, d), default=None
        Prior precision, or that of each coefficient, or a matrix; None chooses it from
        the features, see `COLD_START_SD`.
    heads : ndarray of shape (n_heads, d), default=None
        Last layers of an ensemble; the spread of rewards is then theirs.
    past : callable, default=None
        Returns the Fisher information (d, d) of the comparisons already asked, given
        this design; None when nothing was asked.
    groups : ndarray of shape (n_items,), int, default=None
        Group (prompt) of each item.
    past_counts : callable, default=None
        Returns how many comparisons of each group were asked already, (n_groups,); None
        where that is not known.
    costs : ndarray of shape (n_pairs,), default=None
        What asking each candidate costs, positive; None is the same for all.
    past_differences : callable, default=None
        Returns the differences (n_past, d) of the comparisons already asked.
    target : callable, default=None
        ``target(weighted)`` returns the mean of x xᵀ, or if weighted of v x xᵀ, (d, d),
        over the pairs that the model will be used on; None is over the candidates.
    max_pairs_per_item, max_pairs_per_group : int, default=None
        In how many pairs of the batch an item, or a group, may occur. A pair inside a
        group is one occurrence of it.
    progress : callable, default=None
        Called with the number of picks made so far.
    device : torch.device, default=None
        Where `tensor` puts things; the CPU if None.

    Attributes
    ----------
    pairs : ndarray of shape (n_pairs, 2), intp
        Candidates, as rows of `embedding`.
    n_pairs : int
        How many candidates there are.
    embedding : ndarray of shape (n_items, d), float64
        Last-layer features of each item, once.
    differences : ndarray of shape (n_pairs, d), float64
        First minus second; materialised, so read it only where that is needed.
    rewards : ndarray of shape (n_items,)
        In nats; zeros in a cold start.
    reward_differences : ndarray of shape (n_pairs,)
        Logits of P(first preferred).
    variances : ndarray of shape (n_pairs,)
        p (1 - p), the plug-in Bernoulli variances; 1/4 in a cold start.
    posterior_variances : ndarray of shape (n_pairs,)
        E[p (1 - p)] under the posterior.
    white : ndarray of shape (n_items, r)
        Rows whose inner products are the covariances of the rewards, squared nats: of
        the posterior, r = d, or of the ensemble, r = n_heads. Rewards are counted from
        that of the mean embedding, for only differences are known.
    heads : ndarray of shape (n_heads, d) or None
        Last layers of an ensemble.
    past_counts : ndarray of shape (n_groups,)
        Comparisons of each group that were asked already; zeros where not known.
    past_information : ndarray of shape (d, d)
        Σ v x xᵀ over the comparisons already asked; zeros if there are none.
    graph : PairGraph
        The candidates, sorted for products over them.
    second_moment : ndarray of shape (d, d)
        Mean of x xᵀ over the candidates.
    moment_factor : Tensor of shape (d, d)
        Cholesky factor of A, the `second_moment` made regular.
    lengths : ndarray of shape (n_pairs,)
        xᵀ A⁻¹ x of each candidate.
    differ : ndarray of shape (n_pairs,), bool
        Whether its items do; an answer about equal ones teaches nothing.
    target_moment : ndarray of shape (d, d)
        Mean of x xᵀ over the pairs that the model will be used on.
    target_information : ndarray of shape (d, d)
        Mean of v x xᵀ over them, v = p (1 - p) at the estimate.
    past_differences : ndarray of shape (n_past, d)
        Of the comparisons already asked, where they are given.
    caps : list of tuple
        ``(pairs, code_of_item, limit)`` of each cap on items or groups that there is.
    prior : ndarray of shape (d, d)
        Prior precision.
    posterior : LastLayerPosterior
        N(coef, (past_information + prior)⁻¹); the prior in a cold start.
    is_cold : bool
        Whether there is no model yet.
    """

    def __init__(
        self,
        pairs,
        embed,
        *,
        reward=None,
        coef=None,
        alpha=None,
        heads=None,
        past=None,
        past_differences=None,
        groups=None,
        past_counts=None,
        costs=None,
        target=None,
        max_pairs_per_item=None,
        max_pairs_per_group=None,
        progress=None,
        device=None,
    ):
        self.pairs = pairs
        self.n_pairs = len(pairs)
        self.is_cold = reward is None
        self._embed, self._reward, self._past = embed, reward, past
        self._coef, self._alpha, self._target = coef, alpha, target
        self._past_differences = past_differences
        self.heads, self._past_counts = heads, past_counts
        self.groups, self.costs, self.progress = groups, costs, progress
        self.max_pairs_per_item = max_pairs_per_item
        self.max_pairs_per_group = max_pairs_per_group
        self.device = device or torch.device("cpu")
        self._tensors = {}

    def __copy__(self):
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), _origin=self)  # the callables know only this one
        return twin

    @cached_property
    def embedding(self):
        return np.ascontiguousarray(self._embed(), dtype=np.float64)

    @property
    def differences(self):
        return self.embedding[self.pairs[:, 0]] - self.embedding[self.pairs[:, 1]]

    @cached_property
    def rewards(self):
        if self.is_cold:
            n_items = self.pairs.max(initial=-1) + 1
            return np.zeros(n_items)
        return np.asarray(self._reward(), dtype=np.float64)

    @cached_property
    def reward_differences(self):
        first, second = self.rewards[self.pairs].T
        return first - second

    @cached_property
    def variances(self):
        # Through the less likely answer: exact however certain, blind to the order.
        decay = np.exp(-np.abs(self.reward_differences))
        return decay / np.square(1 + decay)

    @cached_property
    def _centered(self):
        phi = to_torch(self.embedding, torch.device("cpu"))  # in half of numpy's time
        return (phi - phi.mean(dim=0)).numpy()

    @cached_property
    def white(self):
        if self.heads is None:
            return self.posterior.whiten(self._centered)
        spread = (self.heads - self.heads.mean(axis=0)) / np.sqrt(len(self.heads))
        return self._centered @ spread.T

    @cached_property
    def reward_difference_variances(self):
        """Variance of each reward difference, squared nats."""
        first, second = to_torch(self.pairs, torch.device("cpu")).T
        white = torch.as_tensor(self.white)
        return squared_distances(white, first, second, self.graph).numpy()

    @cached_property
    def posterior_variances(self):
        return mean_bernoulli_variance(
            -np.abs(self.reward_differences), self.reward_difference_variances
        )

    @cached_property
    def prior(self):
        alpha = self._alpha
        if alpha is None:
            alpha = float(np.trace(self.second_moment)) / COLD_START_SD**2 or 1.0
        return as_matrix(alpha, self.embedding.shape[1])

    @cached_property
    def past_information(self):
        if self._past is None:
            return np.zeros((self.embedding.shape[1],) * 2)
        return self._past()

    @cached_property
    def past_differences(self):
        if self._past_differences is None:
            return np.zeros((0, self.embedding.shape[1]))
        return self._past_differences()

    @cached_property
    def graph(self):
        first, second = to_torch(self.pairs, torch.device("cpu")).T
        return PairGraph(first, second, len(self.embedding))

    @cached_property
    def second_moment(self):
        first, second = self.tensor("pairs").T
        phi = self.tensor("embedding")
        moment = fisher.second_moment(phi, first, second, self.graph)
        spread = (phi - phi.mean(dim=0)).square().mean()
        if moment.trace() <= 1e-14 * spread:  # the pairs differ in rounding at most
            moment.zero_()
        return moment.cpu().numpy()

    @cached_property
    def moment_factor(self):
        moment = self.tensor("second_moment").clone()
        # Relative to each feature's own spread, so that units do not matter; but a
        # feature that no pair differs in has only rounding, of either sign, for a
        # spread.
        floor = 1e-14 * moment.diagonal().mean() + 1e-300
        moment.diagonal().mul_(1 + 1e-9).clamp_(min=floor)
        return fisher.factor(moment)

    @cached_property
    def lengths(self):
        lengths = fisher.squared_lengths(
            *(self.tensor("embedding"), *self.tensor("pairs").T),
            *(self.moment_factor, self.graph),
        )
        return lengths.cpu().numpy()

    @property
    def differ(self):
        return self.lengths > 1e-20

    @cached_property
    def target_moment(self):
        return self.second_moment if self._target is None else self._target(False)

    @cached_property
    def target_information(self):
        if self._target is not None:
            return self._target(True)
        information = fisher.information(
            *(self.tensor("embedding"), *self.tensor("pairs").T),
            self.tensor("variances") / max(self.n_pairs, 1),
            self.graph,
        )
        return information.cpu().numpy()

    @cached_property
    def past_counts(self):
        if self._past_counts is None:
            return np.zeros(1 if self.groups is None else self.groups.max() + 1)
        return self._past_counts()

    @property
    def caps(self):
        caps = [(None, self.max_pairs_per_item)]
        if self.groups is not None:
            caps.append((self.groups, self.max_pairs_per_group))
        return [(self.pairs, code, cap) for code, cap in caps if cap is not None]

    @cached_property
    def posterior(self):
        coef = self._coef
        if coef is None:
            coef = np.zeros(self.embedding.shape[1])
        return LastLayerPosterior(coef, self.past_information, self.prior)

    def among(self, positions):
        """The same view of some of the candidates.

        Parameters
        ----------
        positions : ndarray of intp
            Which.

        Returns
        -------
        part : Design
            Items, rewards, prior and past are shared, not computed again; whatever is
            about the candidates as a whole is about these.
        """
        part = copy(self)
        for name in vars(self).keys() & _OF_PAIRS:
            del vars(part)[name]
        part.prior = self.prior
        part.pairs, part.n_pairs = self.pairs[positions], len(positions)
        part.costs = None if self.costs is None else self.costs[positions]
        part._tensors = {
            name: tensor
            for name, tensor in self._tensors.items()
            if name not in _OF_PAIRS | {"pairs", "costs"}
        }
        return part

    def on_sphere(self):
        """The same candidates, between items that are all as far from the center.

        The farther out an item lies, the less its reward is what a linear model makes
        of it; but a design criterion asks most about the items farthest out. It here
        sees m φ / ‖φ‖, with φ counted from the mean and m the median length, of the
        candidates' items, each as often as candidates name it.

        Returns
        -------
        design : Design
            Rewards, past information, prior precision and target are those of the model
            and of what was asked, as they are; without a model, the prior is about the
            differences on the sphere, and so is a target where none was given.
        """
        twin = copy(self)
        for name in vars(self).keys() & _OF_EMBEDDING:
            del vars(twin)[name]
        counts = np.bincount(self.pairs.ravel(), minlength=len(self.embedding))
        phi = self.embedding - counts @ self.embedding / max(counts.sum(), 1)
        lengths = np.linalg.norm(phi, axis=1)
        median = np.median(np.repeat(lengths, counts)) if counts.any() else 0.0
        median = median or lengths.max(initial=0) or 1.0
        twin.embedding = phi / np.maximum(lengths / median, TINY)[:, None]
        twin._tensors = {}
        return twin

    def offsets(self, rng, n_draws, asked=()):
        """Coefficients drawn from the posterior, or heads at random, less the estimate.

        Parameters
        ----------
        rng : RandomState
            Randomness.
        n_draws : int
            How many.
        asked : ndarray of int, default=()
            Candidates whose expected information narrows the posterior further, as if
            they had been asked; heads stay as they are.

        Returns
        -------
        offsets : ndarray of shape (n_draws, d)
            To be multiplied with embeddings, for what rewards may differ by.
        """
        coef = self.posterior.coef
        if self.heads is not None:
            return self.heads[rng.randint(len(self.heads), size=n_draws)] - coef
        posterior = self.posterior
        if len(asked):
            first, second = self.pairs[asked].T
            x = self.embedding[first] - self.embedding[second]
            expected = (x.T * self.posterior_variances[asked]) @ x
            information = self.past_information + expected
            posterior = LastLayerPosterior(coef, information, self.prior)
        return posterior.draws(check_random_state(rng), n_draws) - coef

    def reward_draws(self, rng, n_draws, asked=()):
        """Rewards under coefficients drawn from the posterior, or under every head.

        Parameters
        ----------
        rng : RandomState
            Randomness.
        n_draws : int
            How many; of an ensemble, each head is one draw, whatever is asked.
        asked : ndarray of int, default=()
            As for :meth:`offsets`.

        Returns
        -------
        rewards : ndarray of shape (n_items, n_draws)
            In nats; only their differences have a meaning.
        """
        if self.heads is None:
            offsets = self.offsets(rng, n_draws, asked)
        else:
            offsets = self.heads - self.posterior.coef
        return self.rewards[:, None] + self._centered @ offsets.T

    def draws(self, rng, n_draws):
        """Reward differences under coefficients drawn from the posterior.

        Parameters
        ----------
        rng : RandomState
            Randomness.
        n_draws : int
            How many.

        Returns
        -------
        draws : ndarray of shape (n_draws, n_pairs)
            Materialised; for those of an ensemble see :meth:`reward_draws`.
        """
        rewards = self.reward_draws(rng, n_draws).T
        return rewards[:, self.pairs[:, 0]] - rewards[:, self.pairs[:, 1]]

    def tensor(self, name):
        """An attribute as a tensor on the design's device, converted once.

        Parameters
        ----------
        name : str
            An attribute that is an array.

        Returns
        -------
        tensor : Tensor
            float64, or int64 for `pairs`.
        """
        if name not in self._tensors:
            self._tensors[name] = to_torch(getattr(self, name), self.device)
        return self._tensors[name]
