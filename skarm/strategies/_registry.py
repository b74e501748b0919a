"""The registry: every strategy by name, with the facts a user chooses by.

A strategy enters it by :func:`register`, written above its definition; the sampler, its
pages, the law tests and the benchmarks then see it.
"""

from functools import partial
from typing import NamedTuple

from skarm._optional import import_optional

__all__ = [
    "ALIASES",
    "AUTO",
    "get_strategy",
    "get_strategy_names",
    "register",
    "strategy_table",
]

#: What "auto" means: what the label-efficiency study favours.
AUTO = "adaptive"


class Entry(NamedTuple):
    """What is known about a strategy; the columns of :func:`strategy_table`."""

    function: callable
    family: str
    needs_model: bool
    needs_posterior: bool
    batch_aware: bool
    cost: str
    source: str


class Alias(NamedTuple):
    """Another name of a registered strategy: with which parameters, and why."""

    strategy: str
    params: dict
    why: str


_REGISTRY = {}

#: Published rules that are a registered strategy under another name.
ALIASES = {
    "adpo": Alias(
        "greedy_d_optimal",
        {"eligible": 1.0, "variance": "plug_in"},
        "Kveton et al., arXiv 2503.01076: greedy log det with weights p (1 - p)",
    ),
    "apo": Alias(
        "variance",
        {},
        "Das et al., arXiv 2402.10500: the longest difference in the inverse "
        "information, one pair at a time",
    ),
}


def register(*, needs_model, needs_posterior, batch_aware, cost, source, family=None):
    """Enter a strategy into the registry under its function's name.

    Parameters
    ----------
    needs_model : bool
        Whether rewards decide. Without a model such a rule knows only the features.
    needs_posterior : bool
        Whether the covariance of the last layer, or an ensemble of it, is read.
    batch_aware : bool
        Whether a pick depends on the picks before it in the same batch.
    cost : str
        Time, with n candidates, m items, d features, k picks, and s posterior draws.
    source : str
        Who proposed it, and where.
    family : str, default=None
        None is the module that defines the function.

    Returns
    -------
    decorator : callable
        Returns the function as it was.
    """

    def enter(function):
        room = family or function.__module__.rpartition(".")[2]
        facts = (needs_model, needs_posterior, batch_aware, cost, source)
        _REGISTRY[function.__name__] = Entry(function, room, *facts)
        return function

    return enter


def get_strategy_names(family=None):
    """Names of the registered strategies.

    Parameters
    ----------
    family : str, default=None
        "baseline", "uncertainty", "optimal_design", ...: the module they live in. None
        gives all.

    Returns
    -------
    names : list of str
        Families together, in the order of definition.

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
    families = list(dict.fromkeys(entry.family for entry in _REGISTRY.values()))
    if family is not None and family not in families:
        raise ValueError(f"family must be one of {families}. Got {family!r}.")
    return [
        name
        for wanted in (families if family is None else [family])
        for name, entry in _REGISTRY.items()
        if entry.family == wanted
    ]


def get_strategy(strategy):
    """The function behind a strategy's name; a callable is returned as it is.

    Parameters
    ----------
    strategy : str or callable
        A registered name, "auto", an alias such as "adpo", or a strategy function.

    Returns
    -------
    function : callable
        ``f(design, n_pairs, *, rng, **params)``. That of an alias has the parameters
        which make it the published rule filled in.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if callable(strategy):
        return strategy
    if strategy in ALIASES:
        alias = ALIASES[strategy]
        function = _REGISTRY[alias.strategy].function
        return partial(function, **alias.params) if alias.params else function
    name = AUTO if strategy == "auto" else strategy
    if name not in _REGISTRY:
        raise ValueError(
            f"strategy must be 'auto', a callable, or one of {get_strategy_names()}, "
            f"or an alias of one, {list(ALIASES)}. Got {strategy!r}."
        )
    return _REGISTRY[name].function


def strategy_table(format="markdown"):
    """Every registered strategy with the facts to choose by, from the registry.

    Parameters
    ----------
    format : {"markdown", "frame"}, default="markdown"
        A table to print, or a pandas DataFrame (which needs pandas).

    Returns
    -------
    table : str or DataFrame
        One row per strategy: name, family, needs_model (a cold start is then no better
        than chance, or than the features alone), needs_posterior, batch_aware, cost (n
        candidates, m items, d features, k picks, s posterior draws), source.

    Raises
    ------
    ValueError
        If `format` is neither.
    ImportError
        If a frame is wanted and pandas is not installed.

    Examples
    --------
    >>> from skarm.strategies import strategy_table
    >>> print(strategy_table().splitlines()[0])
    | name | family | needs model | needs posterior | batch-aware | cost | source |
    """
    if format not in ("markdown", "frame"):
        raise ValueError(f"format must be 'markdown' or 'frame'. Got {format!r}.")
    columns = ["name", *Entry._fields[1:]]
    rows = [(name, *_REGISTRY[name][1:]) for name in get_strategy_names()]
    if format == "frame":
        needed_by = "strategy_table(format='frame')"
        pandas = import_optional("pandas", needed_by=needed_by, extra="parquet")
        return pandas.DataFrame(rows, columns=columns)
    words = {True: "yes", False: "no"}
    header = [column.replace("_", " ") for column in columns]
    header[columns.index("batch_aware")] = "batch-aware"
    cells = [
        [words[cell] if isinstance(cell, bool) else cell for cell in row]
        for row in rows
    ]
    for row in cells:
        row[0] = f"`{row[0]}`"
    table = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)
