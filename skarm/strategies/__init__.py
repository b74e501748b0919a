"""Query strategies: which pairs to ask, as functions of a `Design`.

A strategy is a plain function ``f(design, n_pairs, *, rng, **params)`` of a read-only
:class:`~skarm.strategies._design.Design`, returning the positions of its picks among
the candidates, or :class:`Picks` to give their utilities too. It sees no estimator,
enumerates no pairs and validates nothing. Adding one is a function and a line below.
"""

from skarm.strategies._design import Design
from skarm.strategies._selection import Picks, Selection, top_n
from skarm.strategies.baseline import random
from skarm.strategies.optimal_design import (
    d_optimal,
    greedy_d_every_pair,
    greedy_d_optimal,
    past_aware_d_optimal,
    v_optimal,
    xtx,
)
from skarm.strategies.uncertainty import entropy, max_difference

__all__ = [
    "Design",
    "Picks",
    "Selection",
    "d_optimal",
    "entropy",
    "get_strategy",
    "get_strategy_names",
    "greedy_d_optimal",
    "max_difference",
    "past_aware_d_optimal",
    "random",
    "top_n",
    "v_optimal",
    "xtx",
]

_REGISTRY = {
    function.__name__: function
    for function in (
        random,
        entropy,
        max_difference,
        xtx,
        d_optimal,
        past_aware_d_optimal,
        greedy_d_optimal,
        v_optimal,
    )
}

#: Rules that can look at every pair of a lazy pool, however many there are.
EVERY_PAIR = {greedy_d_optimal: greedy_d_every_pair}
#: What "auto" means until the label-efficiency study has earned another answer.
AUTO = "greedy_d_optimal"


def get_strategy_names(family=None):
    """Names of the registered strategies.

    Parameters
    ----------
    family : str, default=None
        "baseline", "uncertainty" or "optimal_design": the module they live in. None
        gives all.

    Returns
    -------
    names : list of str
        In the order of registration, families together.

    Raises
    ------
    ValueError
        If there is no such family.

    Examples
    --------
    >>> from skarm.strategies import get_strategy_names
    >>> get_strategy_names("uncertainty")
    ['entropy', 'max_difference']
    """
    families = {
        name: function.__module__.rpartition(".")[2]
        for name, function in _REGISTRY.items()
    }
    if family is not None and family not in families.values():
        known = list(dict.fromkeys(families.values()))
        raise ValueError(f"family must be one of {known}. Got {family!r}.")
    return [name for name in _REGISTRY if family in (None, families[name])]


def get_strategy(strategy):
    """The function behind a strategy's name; a callable is returned as it is.

    Parameters
    ----------
    strategy : str or callable
        A registered name, "auto", or a strategy function.

    Returns
    -------
    function : callable
        ``f(design, n_pairs, *, rng, **params)``.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if callable(strategy):
        return strategy
    name = AUTO if strategy == "auto" else strategy
    if name not in _REGISTRY:
        raise ValueError(
            f"strategy must be 'auto', a callable, or one of {get_strategy_names()}. "
            f"Got {strategy!r}."
        )
    return _REGISTRY[name]
