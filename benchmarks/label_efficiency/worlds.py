"""Worlds: items, who answers, which pairs may be asked, and what quality means."""

import gzip
import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.preprocessing import StandardScaler

from label_efficiency.config import REPLAY_SHARE, SALT, TEST_SHARE
from skarm import Comparisons
from skarm.annotators import SimulatedAnnotator
from skarm.metrics import best_of_n, grouped_spearman, pairwise_accuracy
from skarm.text import SentenceEmbedder, train_static_embedding

__all__ = ["World", "make_world"]


@dataclass
class World:
    """One seed of a world: training items to ask about, test items to be judged on."""

    items: np.ndarray
    groups: np.ndarray | None
    scope: str
    answer: object  # pairs -> y
    quality: object  # model -> float
    metric: str
    best_of: object = None  # model, n -> that of the best of n, 0 mean, 1 best
    floor: object = None  # () -> the same world with nothing but the length to go by
    recorded: np.ndarray | None = None  # the only pairs that may be asked
    n_labels: int | None = None  # no more than this


def make_world(spec, seed, options):
    """The world of `spec` for a seed; `options` are those of the command line."""
    spec = dict(spec)
    return _MAKERS[spec.pop("kind")](seed, options, **spec)


# ----------------------------------------------------- responses with known rewards


def _features(seed, options, key, temperature, scope="within", flip=0.0, n_models=None):
    table = _table(str(options.features), options.half, n_models is None)
    if n_models is not None and "model" in table:
        models = np.random.RandomState(seed).permutation(np.unique(table["model"]))
        keep = np.isin(table["model"], models[:n_models])
        table = {name: column[keep] for name, column in table.items()}
    X = table[key]
    across = "golden_adj" if "golden_adj" in table else "golden_wide"
    reward = table["golden_wide" if scope == "within" else across]
    return _rewarded(
        *(seed, X, reward.astype(float), table["prompt_id"]),
        judged_by=table["golden_wide"].astype(float),
        length=table.get("_length"),
        **dict(temperature=temperature, scope=scope, flip=flip),
    )


def _text(seed, options, temperature, embedding="words"):
    table = _table(str(options.features), options.half, True)
    texts = _responses(str(options.responses))
    keys = zip(table["prompt_id"].tolist(), table["model"].tolist(), strict=True)
    embed = {"words": _embed, "sentences": _embed_sentences}[embedding]
    table[f"_{embedding}"] = embed(tuple(texts[key] for key in keys))
    return _features(seed, options, f"_{embedding}", temperature)


@cache
def _table(path, half, halve_models):
    """Columns of a feature file, without the baseline model, of one half or all."""
    with np.load(path, allow_pickle=False) as data:
        n = len(data["prompt_id"])
        table = {k: data[k] for k in data.files if len(data[k]) == n}
        names = data["hand_names"].astype(str) if "hand_names" in data.files else []
    keep = np.ones(n, dtype=bool)
    for column in ("prompt_id", "model"):
        if column in table:
            table[column] = table[column].astype(str)
    if "model" in table:
        keep &= table["model"] != "gpt4_1106_preview"
    if half != "all":
        for column in ("prompt_id", "model")[: 1 + halve_models]:
            if column in table:
                keep &= np.isin(table[column], _half(table[column][keep], half))
    table = {k: v[keep] for k, v in table.items()}
    if "log_chars" in names:
        column = list(names).index("log_chars")
        table["_length"] = table["X_hand"][:, column].astype(float)
    return table


def _half(names, half):
    """Every other name in the order of their hashes."""
    names = sorted(
        np.unique(names), key=lambda n: hashlib.sha256(f"{SALT}:{n}".encode()).digest()
    )
    return names[("tuning", "reporting").index(half) :: 2]


def _rewarded(
    seed,
    X,
    reward,
    groups,
    *,
    temperature,
    scope="within",
    flip=0.0,
    judged_by=None,
    length=None,
):
    """Prompts are split; quality is the rank correlation on the test prompts."""
    rng = np.random.RandomState(seed)
    everything = reward if judged_by is None else judged_by
    if groups is None:
        test = rng.permutation(len(X)) < TEST_SHARE * len(X)
    else:
        prompts = rng.permutation(np.unique(groups))
        test = np.isin(groups, prompts[: int(TEST_SHARE * len(prompts))])
    scaler = StandardScaler().fit(X[~test].astype(np.float64))
    items, unseen = (scaler.transform(X[m].astype(np.float64)) for m in (~test, test))
    judged_by, test_groups = everything[test], None if groups is None else groups[test]
    annotator = SimulatedAnnotator(reward[~test], temperature, random_state=seed)

    def floor():
        setting = dict(temperature=temperature, scope=scope, flip=flip)
        told = dict(judged_by=everything, **setting)
        return _rewarded(seed, length[:, None], reward, groups, **told)

    def answer(pairs):
        y = annotator(pairs)
        if flip:  # of a share of the pairs, whatever else is asked
            chance = _uniforms(pairs, seed)
            y = np.where(chance < flip, 1 - y, y)
        return y

    return World(
        items=items,
        groups=None if groups is None else groups[~test],
        scope=scope if groups is not None else "all",
        answer=answer,
        quality=lambda model: grouped_spearman(
            judged_by, model.predict(unseen), groups=test_groups
        ),
        metric="spearman",
        best_of=lambda model, n: best_of_n(
            judged_by,
            model.predict(unseen),
            groups=test_groups,
            n_values=n,
            normalize=True,
        )[0],
        floor=None if length is None else floor,
    )


def _uniforms(pairs, seed):
    """A number in [0, 1) per unordered pair, whatever else is asked."""
    low, high = np.sort(pairs, axis=1).astype(np.uint64).T
    start = (seed + 1) * (0xD1B54A32D192ED03 % 2**63) % 2**64
    z = low * np.uint64(0x9E3779B97F4A7C15) + high + np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return (z ^ (z >> np.uint64(31))).astype(np.float64) / 2.0**64


# ------------------------------------------------------------------------ synthetic


def _synthetic(
    seed, options, reward, n_features=10, df=None, copies=1, n_prompts=200, n_each=16
):
    del options
    rng = np.random.RandomState(seed)
    n, coef = n_prompts * n_each, rng.standard_normal(n_features)
    X = rng.standard_normal((n, n_features))
    if df is not None:
        X = rng.standard_t(df, size=(n, n_features)) / np.sqrt(df / (df - 2))
    if copies > 1:  # every response is there `copies` times
        X = X.reshape(n_prompts, n_each, n_features)
        X = np.tile(X[:, : n_each // copies], (1, copies, 1)).reshape(n, n_features)
    if reward == "network":
        hidden = rng.standard_normal((n_features, 16)) * 1.5 / np.sqrt(n_features)
        value = np.tanh(X @ hidden) @ rng.standard_normal(16)
    else:
        value = X @ coef / np.linalg.norm(coef)
    value = np.tanh(value) if reward == "saturated" else value
    value *= np.sqrt(2) / value.std()  # differences of 2 nats
    groups = np.repeat(np.arange(n_prompts), n_each)
    return _rewarded(seed, X, value, groups, temperature=1.0)


def _digits(seed, options):
    """Images: which of two handwritten digits is larger, with errors."""
    from sklearn.datasets import load_digits

    del options
    data = load_digits()
    return _rewarded(seed, data.data, data.target.astype(float), None, temperature=1.5)


# --------------------------------------------------------------------------- replay


def _replay(seed, options, file):
    """Recorded answers: only recorded pairs may be asked; quality is accuracy."""
    X, pairs, y, groups = _recorded(str(options.data / file))
    return _replayed(seed, X, pairs, y, groups)


def _comparisons(seed, options):
    X, pairs, y, groups = _recorded(str(options.comparisons))
    return _replayed(seed, X, pairs, y, groups)


def _replayed(seed, X, pairs, y, groups):
    rng = np.random.RandomState(seed)
    pair_group = groups[pairs[:, 0]]
    names = rng.permutation(np.unique(pair_group))
    if len(names) >= 20:  # whole prompts are judged on
        test = np.isin(pair_group, names[: int(TEST_SHARE * len(names))])
    else:
        test = rng.permutation(len(pairs)) < TEST_SHARE * len(pairs)
    items = StandardScaler().fit_transform(X)
    recorded, answers = pairs[~test], y[~test]
    number = {tuple(pair): k for k, pair in enumerate(recorded.tolist())}
    unseen = Comparisons(items, pairs[test])
    return World(
        items=items,
        groups=groups,
        scope="recorded",
        answer=lambda asked: answers[[number[tuple(p)] for p in asked.tolist()]],
        quality=lambda model: pairwise_accuracy(y[test], model.predict(unseen)),
        metric="accuracy",
        floor=lambda: _replayed(seed, X[:, :1], pairs, y, groups),
        recorded=recorded,
        n_labels=int(REPLAY_SHARE * len(recorded)),
    )


@cache
def _recorded(path):
    """Features of texts, pairs, mean answers, and groups, from rows of preferences."""
    rows = [json.loads(line) for line in _lines(path)]
    number, votes = {}, {}

    def item(prompt, text):
        return number.setdefault((prompt, text), len(number))

    if "left_id" in rows[0]:  # votes over numbered responses, kept in a file beside
        side = path.replace("comparisons", "responses")
        texts = [json.loads(line) for line in _lines(side)]
        by_key = {(t["prompt_id"], t["model"]): t["response"] for t in texts}
        for row in rows:
            names = [(row["prompt_id"], row[f"model_{s}"]) for s in ("left", "right")]
            if not all(name in by_key for name in names):
                continue
            a, b = (item(name[0], by_key[name]) for name in names)
            won = {"left": 1.0, "right": 0.0}.get(row["winner"], 0.5)
            votes.setdefault((a, b), []).append(won)
    for row in rows if "labels" in rows[0] else ():
        key = row.get("prompt_id", row["prompt"])
        a, b = item(key, row["response_1"]), item(key, row["response_2"])
        votes[a, b] = [{1: 1.0, 2: 0.0}.get(label, 0.5) for label in row["labels"]]
    for row in rows if "chosen" in rows[0] else ():
        a, b = item(row["prompt"], row["chosen"]), item(row["prompt"], row["rejected"])
        votes[a, b] = [1.0]
    merged = {}
    for (a, b), answers in votes.items():  # one entry for an unordered pair
        if a != b:
            low, high = min(a, b), max(a, b)
            answers = answers if a == low else [1 - v for v in answers]
            merged.setdefault((low, high), []).extend(answers)
    pairs = np.array(list(merged), dtype=np.intp)
    y = np.array([np.mean(answers) for answers in merged.values()])
    groups = np.unique([str(key[0]) for key in number], return_inverse=True)[1]
    return _embed(tuple(text for _, text in number)), pairs, y, groups


# ----------------------------------------------------------------------------- text


def _lines(path):
    with (gzip.open if path.endswith(".gz") else open)(
        path, "rt", encoding="utf-8"
    ) as file:
        return [line for line in file if line.strip()]


def _responses(path):
    rows = map(json.loads, _lines(path))
    return {(str(r["prompt_id"]), r["model"]): r["response"] for r in rows}


@cache
def _embed(texts):
    """Log length, then a 64-dimensional embedding trained on these texts alone."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    tfidf = TfidfVectorizer(sublinear_tf=True, min_df=3, max_features=20_000)
    counts = tfidf.fit_transform(texts)
    svd = TruncatedSVD(min(64, counts.shape[1] - 1), random_state=0)
    length = np.log1p([len(text) for text in texts])
    return np.column_stack([length, svd.fit_transform(counts)])


@cache
def _embed_sentences(texts):
    """A 64-dimensional sentence embedding trained on these texts alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = train_static_embedding(list(texts), f"{folder}/model")
        embedder = SentenceEmbedder(path, normalize=True, cache=False)
        return np.asarray(embedder.transform(np.array(texts, dtype=object)))


_MAKERS = {
    "features": _features,
    "text": _text,
    "synthetic": _synthetic,
    "digits": _digits,
    "replay": _replay,
    "comparisons": _comparisons,
}
