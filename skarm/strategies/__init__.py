"""Query strategies: which pairs to ask, as functions of a `Design`.

A strategy is a plain function ``f(design, n_pairs, *, rng, **params)`` of a read-only
:class:`~skarm.strategies._design.Design`, returning the positions of its picks among
the candidates, or :class:`Picks` to give their utilities too. It sees no estimator,
enumerates no pairs and validates nothing. Adding one is a function with a `register`
above it, and its name below.
"""

from skarm.strategies._design import Design
from skarm.strategies._registry import (
    AUTO,
    get_strategy,
    get_strategy_names,
    strategy_table,
)
from skarm.strategies._selection import Picks, Selection, top_n
from skarm.strategies.adaptive import adaptive, adaptive_every_pair
from skarm.strategies.baseline import random
from skarm.strategies.bayesian import bal_pm, bald, batch_bald, variance
from skarm.strategies.cold_start import reward_agnostic
from skarm.strategies.diversity import badge, coreset, k_center
from skarm.strategies.dueling import (
    delta_ucb,
    double_thompson,
    drts,
    eubo,
    information_max,
    max_min_lcb,
)
from skarm.strategies.every_pair import greedy_d_every_pair, v_every_pair
from skarm.strategies.optimal_design import (
    a_optimal,
    bait,
    g_optimal,
    greedy_d_optimal,
    v_optimal,
)
from skarm.strategies.paper import d_optimal, past_aware_d_optimal, xtx
from skarm.strategies.tournament import tournament_d_optimal
from skarm.strategies.uncertainty import entropy, max_difference

__all__ = [
    "AUTO",
    "Design",
    "Picks",
    "Selection",
    "a_optimal",
    "adaptive",
    "badge",
    "bait",
    "bal_pm",
    "bald",
    "batch_bald",
    "coreset",
    "d_optimal",
    "delta_ucb",
    "double_thompson",
    "drts",
    "entropy",
    "eubo",
    "g_optimal",
    "get_strategy",
    "get_strategy_names",
    "greedy_d_optimal",
    "information_max",
    "k_center",
    "max_difference",
    "max_min_lcb",
    "past_aware_d_optimal",
    "random",
    "reward_agnostic",
    "strategy_table",
    "top_n",
    "tournament_d_optimal",
    "v_optimal",
    "variance",
    "xtx",
]

#: Rules that can look at every pair of a lazy pool, however many there are.
EVERY_PAIR = {
    adaptive: adaptive_every_pair,
    greedy_d_optimal: greedy_d_every_pair,
    v_optimal: v_every_pair,
}
