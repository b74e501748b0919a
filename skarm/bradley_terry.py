"""BradleyTerryRegressor: a reward model fitted to comparisons, linear or MLP."""

import warnings
from functools import cached_property, partial
from numbers import Integral, Real

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from skarm._data.checks import (
    Interval,
    StrOptions,
    check_comparisons,
    check_item_features,
    check_numeric,
    check_outcomes,
    implied_comparisons,
    is_comparisons,
    read_comparisons,
    read_ratings,
)
from skarm._data.items import to_dense
from skarm._model.choice import linear_head, network_pays, side_by_side
from skarm._model.graph import information
from skarm._model.heads import fit_heads
from skarm._model.linear import MAX_DENSE, fit_linear, is_alone, prepare
from skarm._model.networks import ACTIVATIONS, embed_arrays, resolve_device
from skarm._model.posterior import LastLayerPosterior
from skarm._model.prior import moment_of
from skarm._model.training import canonical_comparisons, held_out, train_layers
from skarm.metrics import pairwise_accuracy

__all__ = ["BradleyTerryRegressor"]

_TRAINING = "activation learning_rate weight_decay batch_size max_iter n_iter_no_change"
_POSITIVE = Interval(Real, 0, None, closed="neither")
_SOME = Interval(Integral, 1, None, closed="left")


class BradleyTerryRegressor(RegressorMixin, BaseEstimator):
    """Reward model fitted to comparisons: P(first preferred) = sigmoid(r_i - r_j).

    With no hidden layer the reward is linear, r = wᵀx, and the fit is the exact
    minimum of

        Σ_k c_k [log(1 + exp(s_k)) - y_k s_k] + alpha/2 ‖w‖²,  s_k = r_first - r_second

    which is strictly convex. With hidden layers a network is trained first; then its
    last, bias-free layer is solved by the same exact fit on the learned embedding. One
    that does not clearly predict held-out comparisons better than the linear model is
    dropped for that (with a normal prior on more than 1,024 features).

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=()
        Widths of the hidden layers. Empty is the linear model.
    prior : {"student_t", "normal"}, default="student_t"
        Of each coefficient of a linear model, where `alpha` is "auto". Few features
        carry most of a reward: Student's t, with 3 degrees of freedom, shrinks those
        less and the others more, by a precision for each. With groups that `X` carries
        and up to 1,024 features it is averaged, by the evidence, with one under which
        coefficients are correlated as differences inside groups are. Networks, sparse
        items, over 4,096 features, and over 32 pairs a feature have the normal prior.
    alpha : float or "auto", default="auto"
        Prior precision of the last layer, for a normal prior N(0, I / alpha); the loss
        is a sum over comparisons. "auto" maximises the Laplace marginal likelihood
        [2]_ at every fit, with a weak prior, so that few answers do not settle it: the
        prior standard deviation of a reward difference is log-normal about 1.5 nats.
    alpha_scale : float, default=1.0
        With alpha="auto", so many times the precision that the evidence prefers. More
        may rank noisy texts better: search on held-out groups.
    activation : {"gelu", "relu", "tanh"}, default="gelu"
        Of the hidden layers.
    learning_rate : float, default=1e-3
        Of Adam, for the hidden layers.
    weight_decay : float, default=1e-2
        Decoupled decay of the hidden layers, as in AdamW.
    batch_size : int or "auto", default="auto"
        Comparisons per step. "auto" takes 128, or 1,024 of more than 8,192.
    max_iter : int, default=1000
        Newton iterations of a linear fit; epochs of a network.
    tol : float, default=1e-8
        A linear fit stops when the gradient falls below `tol` times its size at w = 0.
    validation_fraction : float, default=0.15
        Share of the comparisons, of whole groups where these are many, held out to stop
        a network. 0, or too few to spare three, trains for `max_iter` epochs.
    n_iter_no_change : int, default=20
        Epochs after which a network stops, if its held-out loss did not fall by 1e-3.
    n_heads : int, default=0
        How many further last layers to fit, an ensemble that query strategies read
        instead of the Laplace posterior: each the exact fit under a Bayesian bootstrap
        of the answers, with a prior mean drawn from the prior.
    device : str, default="auto"
        Of a network: "auto" (CUDA where there is one), "cpu", "cuda:1".
    warm_start : bool, default=False
        Start from the previous solution; a network continues training its layers.
    verbose : bool, default=False
        Show progress while a network trains.
    random_state : int, RandomState or None, default=None
        Networks: initial weights, held-out comparisons, mini-batches. The heads.

    Attributes
    ----------
    coef_ : ndarray of shape (n_embedding,)
        Last layer, w.
    alpha_ : float or ndarray of shape (n_embedding,) or (n_embedding, n_embedding)
        The prior precision used: of all coefficients, of each, or a matrix.
    information_ : ndarray of shape (n_embedding, n_embedding) or None
        Fisher information Σ c p (1 - p) x xᵀ of the answers at `coef_`, without the
        prior. None where n_embedding exceeds 4,096.
    head_coefs_ : ndarray of shape (n_heads, n_embedding) or None
        Last layers of the ensemble; None without.
    log_evidence_ : float
        Laplace log evidence of the better normal prior, unscaled; NaN with an alpha.
    n_iter_ : int
        Newton iterations over the whole search for alpha, or epochs.
    hidden_coefs_, hidden_intercepts_ : list of ndarray
        Weights (n_out, n_in) and biases of the hidden layers. Empty without, or where
        held-out comparisons did not prefer them: `embed` then returns the items.
    validation_loss_ : list of float
        Held-out negative log-likelihood (nats per comparison) after each epoch.
    n_comparisons_ : int
        Comparisons with an outcome and a positive weight.
    n_features_in_ : int
        Number of item features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where the items were a DataFrame with string column names.

    See Also
    --------
    make_reward_pipeline : Item steps (embedder, scaler) in front of it.
    ActiveComparisonSampler : Which comparisons to ask next.

    Notes
    -----
    Items are used once each; their differences are formed only where they are fewer
    than the items, or few. With d = n_features, a linear fit needs, beside the items, 8
    n_items d bytes for up to 2²² numbers, and no copy of larger ones but two for
    Student's t; 20 d² + 80 n_comparisons bytes or so; and where comparisons are fewer
    than features, 8 n_comparisons (3 d + 4 n_comparisons), and 8 d² when `information_`
    is read, which then is made. Products of larger float32 items end in float64:
    `coef_` has the accuracy of `tol`, `information_` is within 1e-4 of itself. Time is
    O(n_items d²) a Hessian, two of them, some eight more for alpha="auto", and a dozen
    factorisations for Student's t, O(d min(d, n_comparisons)²); with groups twice that,
    and O(d²) and 25 d bytes for each item of the store, up to 32,768.

    Only differences of rewards are informed by answers: the level of a reward (and of
    a prompt, if no comparison crosses prompts) comes from the features alone.

    References
    ----------
    .. [1] Bradley and Terry, "Rank analysis of incomplete block designs", 1952.
    .. [2] D. J. C. MacKay, "The evidence framework applied to classification
       networks", Neural Computation 4, 1992. For Student's t, Tipping, JMLR 1, 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from skarm import BradleyTerryRegressor, Comparisons
    >>> items = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]])
    >>> asked = Comparisons(items, [[0, 1], [2, 0], [2, 1]])
    >>> model = BradleyTerryRegressor(alpha=1.0).fit(asked, [0, 1, 1])
    >>> model.predict(items).round(2)
    array([0.  , 0.8 , 1.96])
    >>> model.predict(asked).round(2)
    array([0.31, 0.88, 0.76])
    """

    _parameter_constraints = {
        "hidden_layer_sizes": ["array-like"],
        "prior": [StrOptions({"student_t", "normal"})],
        "alpha": [_POSITIVE, StrOptions({"auto"})],
        "alpha_scale": [_POSITIVE],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "learning_rate": [_POSITIVE],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [_SOME, StrOptions({"auto"})],
        "max_iter": [_SOME],
        "tol": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [_SOME],
        "n_heads": [Interval(Integral, 0, None, closed="left")],
        "device": [str],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        hidden_layer_sizes=(),
        prior="student_t",
        alpha="auto",
        alpha_scale=1.0,
        activation="gelu",
        learning_rate=1e-3,
        weight_decay=1e-2,
        batch_size="auto",
        max_iter=1000,
        tol=1e-8,
        validation_fraction=0.15,
        n_iter_no_change=20,
        n_heads=0,
        device="auto",
        warm_start=False,
        verbose=False,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.prior = prior
        self.alpha = alpha
        self.alpha_scale = alpha_scale
        self.activation = activation
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_heads = n_heads
        self.device = device
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X, y, sample_weight=None, groups=None):
        """Fit the reward model.

        Parameters
        ----------
        X : Comparisons, array (n, 2, n_features), or items (n_items, n_features)
            Comparisons, or items with a rating each in `y`. Features of items that no
            pair names inform the prior too; ``X.compact()`` is without them.
        y : array-like of shape (n,)
            For comparisons, outcomes in [0, 1]: 1 = first preferred, 0 = second, 0.5 =
            tie, NaN = not asked (ignored). For items, real ratings: every pair of
            different ratings is an implied comparison (within `groups`, if given).
        sample_weight : array-like of shape (n,), default=None
            Weight of each comparison, or item (an implied comparison weighs the product
            of its two items' weights).
        groups : array-like of shape (n,), default=None
            Group (prompt) of each comparison, or item. None takes the item groups that
            the Comparisons carry, if any.

        Returns
        -------
        self : BradleyTerryRegressor
            Fitted.

        Raises
        ------
        ValueError
            If there is no comparison with an outcome, `y` lies outside [0, 1], lengths
            disagree, or items are not finite numbers.
        """
        self._validate_params()
        sizes = self.hidden_layer_sizes
        if not all(isinstance(n, Integral) and n > 0 for n in sizes):
            raise ValueError(
                f"hidden_layer_sizes must hold positive integers. Got {sizes!r}."
            )
        moment = None if groups is not None else moment_of(X)
        read = read_comparisons if is_comparisons(X) else read_ratings
        *problem, item_groups = read(self, X, y, sample_weight, groups)
        self.n_comparisons_ = len(problem[1])
        if len(sizes):
            fit, problem = self._fit_network(*problem, item_groups, moment)
        else:
            problem = prepare(*problem)  # and forget what was read
            fit = self._fit_linear(*problem, moment=moment)
        self.coef_, self.alpha_ = fit.coef, fit.alpha
        self.log_evidence_, self.information_ = fit.log_evidence, fit.information
        self._information_terms = fit.terms
        if fit.terms:
            del self.information_  # made when first read
        self.head_coefs_ = None
        if self.n_heads:
            rng = check_random_state(self.random_state)
            problem = (*problem, fit, self.information_)
            self.head_coefs_ = fit_heads(*problem, n_heads=self.n_heads, rng=rng)
        if not fit.converged:
            self._warn_not_converged(f"max_iter={self.max_iter} iterations")
        return self

    def _fit_network(self, items, pairs, y, weights, item_groups, moment):
        """Train hidden layers, solve for the last one; keep them only if that pays."""
        canonical = canonical_comparisons(to_dense(items), pairs, y, weights)
        items, pairs, y, weights, source = canonical
        if len(pairs) == 0:
            raise ValueError(
                "the compared items must differ in their features. Got only pairs of "
                "equal items, from which a network can learn nothing."
            )
        rng = check_random_state(self.random_state)
        item_groups = None if item_groups is None else item_groups[source]
        mask = held_out(pairs, item_groups, self.validation_fraction, rng)
        train = partial(
            *(train_layers, items, pairs, y, weights, mask),
            hidden_layer_sizes=tuple(self.hidden_layer_sizes),
            **{name: getattr(self, name) for name in _TRAINING.split()},
            device=resolve_device(self.device),
            seed=rng.randint(2**31 - 1),
            initial=self._previous_layers(),
            progress=bool(self.verbose),
        )
        answers = canonical[:4], mask
        head = partial(linear_head, self._solve, *answers, self.prior, moment)
        trained, linear = side_by_side(train, head, is_alone(items, pairs))
        layers = zip(*trained.layers, strict=True)
        self.hidden_coefs_, self.hidden_intercepts_ = map(list, layers)
        self.validation_loss_, self.n_iter_ = trained.validation_loss, trained.n_iter
        if not trained.converged:
            self._warn_not_converged(f"max_iter={self.max_iter} epochs", 4)
        embedding = self._embed(items)
        on_embedding = prepare(embedding, *canonical[1:4])
        if linear is not None:
            # The last layer must not have seen the answers that judge it.
            last = self._solve(*prepare(embedding, *(a[~mask] for a in canonical[1:4])))
            gap = np.subtract(*(embedding @ last.coef)[pairs[mask].T])
            logits, fit = linear
            if not network_pays(logits, gap, y[mask], weights[mask]):
                self.hidden_coefs_, self.hidden_intercepts_ = [], []
                return fit()
        return self._solve(*on_embedding), on_embedding

    @cached_property
    def information_(self):
        """Fisher information of the answers at `coef_`, without the prior."""
        check_is_fitted(self)
        return information(*self._information_terms)

    def _previous_layers(self):
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        hidden = zip(self.hidden_coefs_, self.hidden_intercepts_, strict=True)
        return [array for layer in hidden for array in layer] + [self.coef_]

    def _fit_linear(self, *problem, moment):
        """Fit a linear head, from the previous one if that is wanted."""
        self.hidden_coefs_, self.hidden_intercepts_, self.validation_loss_ = [], [], []
        start = getattr(self, "coef_", None) if self.warm_start else None
        fit = self._solve(*problem, start=start, prior=self.prior, moment=moment)
        self.n_iter_ = fit.n_iter
        return fit

    def _solve(self, *problem, start=None, **options):
        """Solve for a last layer exactly, in float64."""
        return fit_linear(
            *problem,
            alpha=self.alpha,
            scale=self.alpha_scale,
            tol=self.tol,
            max_iter=100 if len(self.hidden_layer_sizes) else self.max_iter,
            coef_init=start,
            **options,
        )

    def _warn_not_converged(self, limit, stacklevel=3):
        warnings.warn(
            f"BradleyTerryRegressor stopped at {limit} before it converged. Raise "
            "max_iter, or scale the features.",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )

    def predict(self, X, return_std=False):
        """Rewards of items, or preference probabilities of comparisons.

        Parameters
        ----------
        X : items (n_items, n_features), Comparisons, or array (n, 2, n_features)
            What to predict.
        return_std : bool, default=False
            Also return the posterior standard deviation of the reward (items) or of
            the reward difference (comparisons), in nats, from the Laplace posterior of
            the last layer N(coef_, (information_ + alpha_)⁻¹).

        Returns
        -------
        prediction : ndarray of shape (n_items,) or (n,)
            Rewards in nats, or P(first preferred).
        std : ndarray of the same shape
            Only if `return_std`.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If the items have another number of features than in ``fit``, or are not
            finite numbers, or no information was kept for `return_std`.
        """
        check_is_fitted(self)
        pairs = None
        if is_comparisons(X):
            comparisons = check_comparisons(X).compact()
            X, pairs = comparisons.items, comparisons.pairs
        embedding = self._embed(check_item_features(self, X, later=self.hidden_coefs_))
        rewards = np.asarray(embedding @ self.coef_)
        prediction = rewards if pairs is None else expit(np.subtract(*rewards[pairs.T]))
        if not return_std:
            return prediction
        white = self.posterior().whiten(to_dense(embedding))
        if pairs is not None:
            white = white[pairs[:, 0]] - white[pairs[:, 1]]
        return prediction, np.sqrt(np.square(white).sum(axis=1))

    def embed(self, X):
        """Last-layer features φ of items: the reward is φᵀ `coef_`.

        Parameters
        ----------
        X : items of shape (n_items, n_features)
            Items.

        Returns
        -------
        embedding : ndarray of shape (n_items, n_embedding), float64
            The items themselves for the linear model.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            As for :meth:`predict`.
        """
        check_is_fitted(self)
        phi = self._embed(check_item_features(self, X, later=self.hidden_coefs_))
        return to_dense(phi).astype(np.float64, copy=False)

    def posterior(self):
        """The Laplace posterior of the last layer.

        Returns
        -------
        posterior : LastLayerPosterior
            N(coef_, (information_ + alpha_)⁻¹).

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If no information was kept, because the embedding is too wide.
        """
        check_is_fitted(self)
        if self.information_ is None:
            raise ValueError(
                f"uncertainty needs at most {MAX_DENSE} features, because it keeps a "
                f"matrix of that size squared. Got {len(self.coef_)}. Reduce the items "
                "first, for example with TruncatedSVD(256)."
            )
        return LastLayerPosterior(self.coef_, self.information_, self.alpha_)

    def score(self, X, y, sample_weight=None):
        """Pairwise accuracy: the share of comparisons predicted the right way round.

        Parameters
        ----------
        X, y
            As for :meth:`fit`. Ties and outcomes that are NaN are left out.
        sample_weight : array-like of shape (n,), default=None
            Weights, as for :meth:`fit`.

        Returns
        -------
        accuracy : float
            Between 0 and 1; equal rewards count one half.
        """
        if is_comparisons(X):
            y = check_outcomes(y, len(check_comparisons(X)))
            return pairwise_accuracy(y, self.predict(X), sample_weight=sample_weight)
        rewards = self.predict(X)
        check_consistent_length(rewards, y, sample_weight)
        pairs, weights = implied_comparisons(y, None, sample_weight)
        prediction = expit(rewards[pairs[:, 0]] - rewards[pairs[:, 1]])
        return pairwise_accuracy(np.ones(len(pairs)), prediction, sample_weight=weights)

    def _embed(self, items):
        """Embedding of items: themselves, or the hidden layers' output."""
        if not self.hidden_coefs_:
            return items
        layers = self.hidden_coefs_, self.hidden_intercepts_
        phi = embed_arrays(to_dense(items), *layers, self.activation, self.device)
        if not np.isfinite(phi.sum()):
            check_numeric(items, type(self).__name__)
        return phi
