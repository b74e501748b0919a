"""Item steps in front of a reward model: each item transformed once."""

from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils._set_output import _safe_set_output
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skarm._data.checks import HasMethods, check_comparisons, is_comparisons

__all__ = ["ItemwiseTransformer", "make_reward_pipeline"]


def _inner_has(name):
    def check(self):
        getattr(getattr(self, "transformer_", self.transformer), name)
        return True

    return check


class ItemwiseTransformer(
    MetaEstimatorMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Lift a transformer of items to comparisons.

    Fits and transforms the items that the pairs name, each once, however many pairs
    name it; the pairs stay as they are. Items outside the given slice are never seen,
    so cross-validation leaks nothing. Plain items pass straight through the inner
    transformer, which is what makes ``pipeline.predict(items)`` work.

    Parameters
    ----------
    transformer : transformer
        Any scikit-learn transformer, or a pipeline of them; cloned on ``fit``.

    Attributes
    ----------
    transformer_ : transformer
        The fitted clone.
    n_features_in_, feature_names_in_
        Those of `transformer_`, where it has them.

    See Also
    --------
    make_reward_pipeline : Puts it in place.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skarm import Comparisons, ItemwiseTransformer
    >>> asked = Comparisons([[0.0], [2.0], [900.0]], [[0, 1]])
    >>> ItemwiseTransformer(StandardScaler()).fit_transform(asked).items
    array([[-1.],
           [ 1.]])
    """

    _parameter_constraints = {"transformer": [HasMethods(["fit", "transform"])]}

    # Weights of comparisons are none of the items' business, unless asked for.
    __metadata_request__fit = {"sample_weight": False}

    def __init__(self, transformer):
        self.transformer = transformer

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = getattr(self.transformer, "__sklearn_tags__", None)
        if inner is not None:
            tags.input_tags = inner().input_tags
            tags.target_tags = inner().target_tags
            tags.requires_fit = inner().requires_fit
            tags.non_deterministic = inner().non_deterministic
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X, y=None, sample_weight=None):
        """Fit on the items that the pairs name.

        Parameters
        ----------
        X : Comparisons, array (n, 2, n_features), or items
            What to fit on.
        y : array-like, default=None
            Passed on for plain items; outcomes of comparisons are not.
        sample_weight : array-like, default=None
            Passed on for plain items; weights of comparisons are not.

        Returns
        -------
        self : ItemwiseTransformer
            Fitted.
        """
        self._validate_params()
        items, params, _ = _split(X, y, sample_weight)
        self.transformer_ = clone(self.transformer).fit(items, **params)
        return self._copy_attributes()

    def fit_transform(self, X, y=None, sample_weight=None):
        """Fit, and transform the same data, running the inner fit_transform once.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        transformed : Comparisons or items
            As for :meth:`transform`.
        """
        self._validate_params()
        items, params, rebuild = _split(X, y, sample_weight)
        self.transformer_ = clone(self.transformer)
        if hasattr(self.transformer_, "fit_transform"):
            items = self.transformer_.fit_transform(items, **params)
        else:
            items = self.transformer_.fit(items, **params).transform(items)
        self._copy_attributes()
        return rebuild(items)

    def transform(self, X):
        """Transform the items, keeping the pairs.

        Parameters
        ----------
        X : Comparisons, array (n, 2, n_features), or items
            What to transform.

        Returns
        -------
        transformed : Comparisons or items
            Comparisons over the transformed items that are named; plain items give
            what the inner transformer gives.

        Raises
        ------
        NotFittedError
            If the transformer needs fitting and is not fitted.
        """
        inner = self._fitted_inner()
        items, _, rebuild = _split(X)
        return rebuild(inner.transform(items))

    @available_if(_inner_has("inverse_transform"))
    def inverse_transform(self, X):
        """Undo :meth:`transform`, where the inner transformer can.

        Parameters
        ----------
        X : Comparisons, array (n, 2, n_features), or items
            Transformed.

        Returns
        -------
        original : Comparisons or items
            In the original space.
        """
        inner = self._fitted_inner()
        items, _, rebuild = _split(X)
        return rebuild(inner.inverse_transform(items))

    @available_if(_inner_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features=None):
        """Names of the transformed item features.

        Parameters
        ----------
        input_features : array-like of str, default=None
            As for the inner transformer.

        Returns
        -------
        names : ndarray of str
            As for the inner transformer.
        """
        return self._fitted_inner().get_feature_names_out(input_features)

    def set_output(self, *, transform=None):
        """Choose the container of transformed items.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Handed to the inner transformer; Comparisons then hold such items.

        Returns
        -------
        self : ItemwiseTransformer
            Configured.
        """
        _safe_set_output(self.transformer, transform=transform)
        if hasattr(self, "transformer_"):
            _safe_set_output(self.transformer_, transform=transform)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "transformer_") or not (
            self.__sklearn_tags__().requires_fit
        )

    def _fitted_inner(self):
        check_is_fitted(self)
        return getattr(self, "transformer_", self.transformer)

    def _copy_attributes(self):
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.transformer_, name):
                setattr(self, name, getattr(self.transformer_, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self


def make_reward_pipeline(*steps):
    """Pipeline of item steps and a reward model.

    Parameters
    ----------
    *steps : estimators
        Item transformers (embedder, scaler, ...), then the regressor.

    Returns
    -------
    pipeline : Pipeline
        Steps ``items`` (an :class:`ItemwiseTransformer` around the item steps) and
        ``regressor``; without item steps only the latter.

    Raises
    ------
    TypeError
        If no step is given, or the last one cannot ``predict``.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skarm import BradleyTerryRegressor, make_reward_pipeline
    >>> model = make_reward_pipeline(StandardScaler(), BradleyTerryRegressor())
    >>> [name for name, _ in model.steps]
    ['items', 'regressor']
    """
    if not steps or not hasattr(steps[-1], "predict"):
        raise TypeError(
            "the last step must be a regressor, such as BradleyTerryRegressor(). "
            f"Got {steps[-1:] or 'no step'}."
        )
    *transformers, regressor = steps
    if not transformers:
        return Pipeline([("regressor", regressor)])
    inner = transformers[0] if len(transformers) == 1 else make_pipeline(*transformers)
    return Pipeline([("items", ItemwiseTransformer(inner)), ("regressor", regressor)])


def _split(X, y=None, sample_weight=None):
    """Items of `X`, fit parameters for them, and how to put new items back."""
    if is_comparisons(X):
        comparisons = check_comparisons(X).compact()
        return comparisons.items, {"y": None}, comparisons.with_items
    params = {"y": y}
    if sample_weight is not None:
        params["sample_weight"] = sample_weight
    return X, params, lambda items: items
