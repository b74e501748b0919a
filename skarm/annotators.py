"""Who answers the comparisons: a simulation, a recording, or a person.

An annotator is any callable ``annotator(comparisons) -> y``. It takes
:class:`~skarm.Comparisons`, or just their ``pairs`` as an integer array of shape
(n_pairs, 2), and returns one float per pair: 1 = first preferred, 0 = second
preferred, 0.5 = tie, a fraction = the share that preferred the first, NaN = no answer.
A function that asks a language model is one too.

Those here keep a promise that makes experiments fair: a pair has one answer, however
often, in whatever batch and on whichever side it is asked; exchanging first and second
gives ``1 - y``.
"""

import hashlib
import json
import numbers
import os
import re
import time
from datetime import UTC, datetime

import numpy as np
from scipy.special import expit
from sklearn.utils import check_random_state

__all__ = [
    "AnnotationStopped",
    "RecordedAnnotator",
    "SimulatedAnnotator",
    "TerminalAnnotator",
]


class SimulatedAnnotator:
    r"""Annotator who knows the true rewards and errs as Bradley–Terry says.

    :math:`P(\text{first preferred}) = \sigma((r_{first} - r_{second}) / temperature)`.
    An answer is a function of the seed and the unordered pair: a 64-bit hash of both,
    read as a uniform number. Nothing is stored, and 10⁶ pairs take a fraction of a
    second.

    Parameters
    ----------
    reward : array-like of shape (n_items,)
        True reward of each item of the store that the pairs index.
    temperature : float, default=1.0
        Noise, in units of reward. 0 answers without error, and 0.5 to equal rewards.
    tie_width : float, default=0.0
        Pairs whose rewards differ by less, in units of reward, are answered 0.5.
    random_state : int, RandomState, Generator or None, default=0
        Which annotator of this kind: another seed, other errors. All but an int are
        drawn from once, here.

    Raises
    ------
    ValueError
        If a parameter is not as described or, when called, a pair names no item.

    Examples
    --------
    >>> from skarm.annotators import SimulatedAnnotator
    >>> annotator = SimulatedAnnotator([0.0, 1.0, 1.0], temperature=0)
    >>> annotator([[0, 1], [1, 0], [1, 2]])
    array([0. , 1. , 0.5])
    """

    def __init__(self, reward, temperature=1.0, *, tie_width=0.0, random_state=0):
        self.reward = np.asarray(reward, dtype=np.float64)
        if self.reward.ndim != 1 or not np.isfinite(self.reward).all():
            raise ValueError(
                "reward must hold one finite number per item. Got shape "
                f"{self.reward.shape} with {np.sum(~np.isfinite(self.reward))} values "
                "that are not finite. Leave those items out of the store."
            )
        for name, value in [("temperature", temperature), ("tie_width", tie_width)]:
            if not 0 <= value < np.inf:
                raise ValueError(
                    f"{name} must be finite and not negative. Got {value!r}. "
                    "Pass 0 for none."
                )
        self.temperature, self.tie_width = temperature, tie_width
        self.random_state = random_state
        self._seed = _draw_seed(random_state)

    def __call__(self, comparisons):
        """Answer each pair: 1, 0, or 0.5 for a tie."""
        pairs, low, high = _check_pairs(comparisons, len(self.reward))
        p, tie = self._probability(low, high)
        y = np.where(tie, 0.5, _uniform(low, high, self._seed) < p)
        return np.where(pairs[:, 0] == low, y, 1.0 - y)

    def probability(self, comparisons):
        """Mean answer over all seeds: P(first preferred), and 0.5 for a tie.

        Parameters
        ----------
        comparisons : Comparisons or array-like of shape (n_pairs, 2)
            The pairs.

        Returns
        -------
        probability : ndarray of shape (n_pairs,)
            In [0, 1].
        """
        pairs, _, _ = _check_pairs(comparisons, len(self.reward))
        return self._probability(*pairs.T)[0]

    def _probability(self, first, second):
        delta = self.reward[first] - self.reward[second]
        if self.temperature == 0:
            p, tie = (1.0 + np.sign(delta)) / 2.0, delta == 0
        else:
            with np.errstate(over="ignore"):
                p, tie = expit(delta / self.temperature), False
        tie = tie | (np.abs(delta) < self.tie_width)
        return np.where(tie, 0.5, p), tie


class RecordedAnnotator:
    """Annotator who repeats recorded answers.

    Parameters
    ----------
    comparisons : Comparisons or array-like of shape (n_recorded, 2)
        The pairs that were answered, in any order and on either side. A pair recorded
        several times answers with the mean.
    y : array-like of shape (n_recorded,)
        Their answers in [0, 1]. NaN is no answer and is left out.

    Attributes
    ----------
    pairs : ndarray of shape (n_pairs, 2), intp
        The different pairs that have an answer, sorted, the lower index first. To
        make them a pool: ``Comparisons(items, annotator.pairs)``.
    y : ndarray of shape (n_pairs,)
        Their answers.

    Raises
    ------
    ValueError
        If the lengths differ, an answer is outside [0, 1] or, when called, a pair has
        no recorded answer.

    Examples
    --------
    >>> from skarm.annotators import RecordedAnnotator
    >>> annotator = RecordedAnnotator([[3, 7], [7, 3], [2, 3]], [1, 1, 0])
    >>> annotator.pairs.tolist(), annotator.y.tolist()
    ([[2, 3], [3, 7]], [0.0, 0.5])
    >>> annotator([[3, 2]])
    array([1.])
    """

    def __init__(self, comparisons, y):
        pairs, low, high = _check_pairs(comparisons)
        y = np.asarray(y, dtype=np.float64)
        if y.shape != (len(pairs),) or np.any((y < 0) | (y > 1)):
            raise ValueError(
                "y must hold one answer in [0, 1], or NaN, per pair. Got shape "
                f"{y.shape} for {len(pairs)} pairs, values {y[(y < 0) | (y > 1)][:3]} "
                "outside. Map answers in {-1, 1} with (y + 1) / 2."
            )
        y_low = np.where(pairs[:, 0] == low, y, 1.0 - y)
        known = ~np.isnan(y)
        keys, at, codes = np.unique(
            _key(low[known], high[known]), return_index=True, return_inverse=True
        )
        self.pairs = np.stack([low[known][at], high[known][at]], axis=1)
        self.y = np.bincount(codes, y_low[known]) / np.bincount(codes)
        self._keys = np.append(keys, np.uint64(2**64 - 1))  # no pair is after the last

    def __call__(self, comparisons):
        """Return the recorded answer to each pair."""
        pairs, low, high = _check_pairs(comparisons)
        keys = _key(low, high)
        at = np.searchsorted(self._keys, keys)
        found = self._keys[at] == keys
        if not found.all():
            example = tuple(pairs[np.argmin(found)].tolist())
            raise ValueError(
                f"every pair must have a recorded answer. Got {example}, without one; "
                f"{np.sum(~found)} of the {len(pairs)} asked are missing. Ask only for "
                "the .pairs of this annotator."
            )
        return np.where(pairs[:, 0] == low, self.y[at], 1.0 - self.y[at])


_KEYS = {"1": 1.0, "a": 1.0, "2": 0.0, "b": 0.0, "t": 0.5, "0": 0.5, "s": np.nan}
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # could rewrite the screen


class AnnotationStopped(Exception):
    """The person stopped before the last comparison.

    Parameters
    ----------
    y : ndarray of shape (n_pairs,)
        Answers so far to the comparisons asked for, NaN where there is none; kept as
        the attribute ``y``.
    """

    def __init__(self, y):
        super().__init__(y)
        self.y = y

    def __str__(self):
        return (
            f"stopped with {np.sum(~np.isnan(self.y))} of {len(self.y)} comparisons "
            "answered. The answers are in .y of this exception; to go on, call the "
            "annotator again."
        )


class TerminalAnnotator:
    """Annotator who is a person at the terminal.

    Shows the prompt and two texts, A and B, on sides drawn per pair, and asks: ``1`` or
    ``a`` = A is better, ``2`` or ``b`` = B, ``t`` or ``0`` = tie, ``s`` = skip (NaN),
    ``q`` or end of input = stop. No pair is asked twice, not even a skipped one; and,
    given a ``path``, not in later sessions either, whatever ends this one.

    Parameters
    ----------
    texts : sequence of str of length n_items
        Text of each item of the store that the pairs index.
    prompts : sequence of str of length n_items, default=None
        Prompt of each item; shown once where both items of a pair have the same.
    path : str or path-like, default=None
        JSON Lines file to which each answer is appended, and forced to disk, before the
        next question: ``first``, ``second``, ``y`` (null = skipped), ``shown_first``
        (the item shown as A), ``seconds``, ``time``. Of several lines on a pair the
        last counts. None keeps the answers in memory only.
    input : callable, default=input
        ``input(question) -> str``; raises ``EOFError`` at the end of input.
    output : text file, default=None
        Where to show the texts. None means standard output.
    show_chars : int or None, default=1200
        Longer texts are cut there. None shows all.
    random_state : int, RandomState, Generator or None, default=0
        Seed of the sides.

    Raises
    ------
    AnnotationStopped
        When called, if the person stops; it carries the answers so far.
    ValueError
        If lengths differ, or a line of the file at ``path`` cannot be read.

    Examples
    --------
    >>> import io
    >>> from skarm.annotators import TerminalAnnotator
    >>> person = {"input": lambda question: "t", "output": io.StringIO()}
    >>> annotator = TerminalAnnotator(["Yes.", "No idea.", "At noon."], **person)
    >>> annotator([[0, 1], [2, 1]])
    array([0.5, 0.5])
    """

    def __init__(
        self,
        texts,
        *,
        prompts=None,
        path=None,
        input=input,
        output=None,
        show_chars=1200,
        random_state=0,
    ):
        self.texts = list(texts)
        self.prompts = [""] * len(self.texts) if prompts is None else list(prompts)
        if len(self.prompts) != len(self.texts):
            raise ValueError(
                f"prompts must hold one prompt per text. Got {len(self.prompts)} for "
                f"{len(self.texts)} texts. Repeat a prompt for each of its responses."
            )
        self.path, self.input, self.output = path, input, output
        self.show_chars, self.random_state = show_chars, random_state
        self._seed = _draw_seed(random_state)
        self._answers = {}  # (lower item, higher item): y of the lower one
        if path is not None and os.path.exists(path):
            self._resume()

    def __call__(self, comparisons):
        """Ask for what has no answer yet; return all answers."""
        pairs, low, high = _check_pairs(comparisons, len(self.texts))
        keys = list(zip(low.tolist(), high.tolist(), strict=True))
        low_is_a = _uniform(low, high, self._seed) < 0.5
        new = {k: i for i, k in enumerate(keys) if k not in self._answers}
        try:
            for number, (key, position) in enumerate(new.items(), start=1):
                a, b = key if low_is_a[position] else key[::-1]
                self._show(a, b, f"\n==== Comparison {number} of {len(new)} ====")
                self._ask(a, *pairs[position].tolist())
        except EOFError:
            raise AnnotationStopped(self._look_up(pairs, keys)) from None
        return self._look_up(pairs, keys)

    def _look_up(self, pairs, keys):
        y_low = np.array([self._answers.get(key, np.nan) for key in keys], dtype=float)
        return np.where(pairs[:, 0] < pairs[:, 1], y_low, 1.0 - y_low)

    def _show(self, a, b, header):
        prompt_a, prompt_b = (self._excerpt(self.prompts[item]) for item in (a, b))
        same = self.prompts[a] == self.prompts[b]
        lines = [header, *([prompt_a] if same else [])]
        for name, item, prompt in [("A", a, prompt_a), ("B", b, prompt_b)]:
            lines.append(f"---- {name} ----" + ("" if same else f" (to: {prompt})"))
            lines.append(self._excerpt(self.texts[item]))
        print("\n".join(filter(None, lines)), file=self.output, flush=True)

    def _excerpt(self, text):
        text = _CONTROLS.sub("", str(text))
        if self.show_chars is None or len(text) <= self.show_chars:
            return text
        cut = len(text) - self.show_chars
        return f"{text[: self.show_chars]} [... {cut} more characters]"

    def _ask(self, a, first, second):
        start = time.perf_counter()
        question = "Better: A (1), B (2), tie (t), skip (s), quit (q)? "
        while (key := self.input(question).strip().lower()) not in _KEYS:
            if key == "q":
                raise EOFError
            question = f"{key!r} is none of 1 a 2 b t 0 s q. Which? "
        y = _KEYS[key] if first == a else 1.0 - _KEYS[key]
        record = {
            "first": first,
            "second": second,
            "y": None if np.isnan(y) else y,
            "shown_first": a,
            "texts": self._fingerprint(first, second),
            "seconds": round(time.perf_counter() - start, 3),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if self.path is not None:
            _append_line(self.path, json.dumps(record))
        self._remember(record)

    def _resume(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                try:
                    if line.strip():
                        self._remember(json.loads(line))
                except (ValueError, TypeError, KeyError) as error:
                    raise ValueError(
                        f"{self.path} must hold one answer per line. Got, on line "
                        f"{number}, {line[:80]!r} ({type(error).__name__}: {error}). "
                        "Repair or delete that line, or name another file."
                    ) from error

    def _fingerprint(self, first, second):
        """Tells whether an item index still means the same text."""
        texts = [str(self.texts[int(item)]) for item in (first, second)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

    def _remember(self, record):
        pair = [[record["first"], record["second"]]]
        _, (low,), (high,) = _check_pairs(pair, len(self.texts))
        known = record.get("texts")
        if known not in (None, self._fingerprint(record["first"], record["second"])):
            raise ValueError("the answer is about other texts than those given")
        y = np.nan if record["y"] is None else float(record["y"])
        if y < 0 or y > 1:
            raise ValueError(f"y must be in [0, 1] or null. Got {y}")
        self._answers[int(low), int(high)] = y if low == record["first"] else 1.0 - y


def _append_line(path, line):
    with open(path, "a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # cut off, or written by hand
                line = "\n" + line
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def _check_pairs(comparisons, n_items=None):
    """Pairs, and the lower and the higher item of each."""
    pairs = np.asarray(getattr(comparisons, "pairs", comparisons))
    if pairs.size == 0:
        pairs = np.empty((0, 2), dtype=np.intp)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            "annotators take Comparisons or an integer array of shape (n_pairs, 2). "
            f"Got shape {pairs.shape} of dtype {pairs.dtype}. Pass indices of items, "
            "not their features."
        )
    if n_items is not None and getattr(comparisons, "n_items", n_items) != n_items:
        raise ValueError(
            f"the comparisons must be of the {n_items} items the annotator knows. Got "
            f"{comparisons.n_items} items. Make both from one item store."
        )
    limit = 2**32 if n_items is None else n_items
    low, high = np.sort(pairs, axis=1).T.astype(np.intp)
    wrong = (low < 0) | (high >= limit) | (low == high)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"a pair must hold two different item indices from 0 to {limit - 1}. Row "
            f"{row} is {tuple(pairs[row].tolist())}. Drop it or correct it."
        )
    return pairs, low, high


def _key(low, high):
    return (low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64)


def _draw_seed(random_state):
    if isinstance(random_state, numbers.Integral):
        return int(random_state) % 2**64
    if not isinstance(random_state, np.random.Generator):
        random_state = check_random_state(random_state)
    return int.from_bytes(random_state.bytes(8), "little")


def _uniform(low, high, seed):
    """Uniform number in [0, 1) that seed and unordered pair determine."""
    state = _mix(np.array([seed], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    bits = _mix(_mix(_key(low, high) + state) ^ state)
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(z):
    """Finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
