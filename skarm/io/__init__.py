"""Read and write preference data: TRL, Label Studio, Argilla, arenas, tables.

Two kinds of thing are in a file: *responses*, perhaps rated, and *comparisons* between
them. Readers return them as :class:`Responses` and :class:`Preferences`; ids,
annotators, margins and every further column are kept, and what a reader leaves out is
counted in ``.report``, with the line and the reason.

======================  ========================================================
comparisons             :func:`read_comparisons`, :func:`write_comparisons`: a plain
                        table, which loses nothing
TRL, OpenRLHF, hh-rlhf  :func:`read_trl`, :func:`write_trl`: prompt, chosen, rejected;
                        texts or messages; explicit or implicit prompt
Label Studio            :func:`read_label_studio`, :func:`write_label_studio`,
                        :func:`label_studio_config`
Argilla                 :func:`read_argilla`, :func:`write_argilla`
Chatbot Arena           :func:`read_arena`, :func:`write_arena`
AlpacaEval              :func:`read_alpaca_eval`, :func:`write_alpaca_eval`
responses               :func:`read_responses`, :func:`write_responses`: a plain table
UltraFeedback           :func:`read_ratings`, :func:`write_ratings`: K completions a
                        prompt, rated
TRL unpaired (KTO)      :func:`read_trl_unpaired`, :func:`write_trl_unpaired`
any table               :func:`read_columns`
======================  ========================================================

**Sources.** A path ending in ``.jsonl``, ``.json``, ``.csv`` (each also ``.gz``) or
``.parquet``, an iterable of dicts, a DataFrame (pandas or polars), or a
``datasets.Dataset``. Writers return their rows as a list of dicts, and write them to a
path if one is given: ``datasets.Dataset.from_list(write_trl(preferences))``.

**Texts.** The items of the comparisons are texts: ``join(prompt, response)``, by
default :func:`join_texts`. Each is a str that remembers its parts (:class:`ItemText`),
wherever it goes, so that what a learner has asked can be written at any time::

    preferences = read_trl("recorded.jsonl")
    learner.teach(preferences.comparisons, preferences.y)
    ...
    write_trl(learner.asked_, learner.y_, "for_training.jsonl")

**Errors.** A row that cannot be understood raises ValueError with its line and what to
do; ``on_error="skip"`` reports it instead. A row that says nothing (both responses the
same, an annotation not submitted) is always skipped and reported.
"""

from skarm.io._records import Preferences, ReadReport, Responses
from skarm.io._texts import ItemText, join_texts, render_messages
from skarm.io.alpaca_eval import read_alpaca_eval, write_alpaca_eval
from skarm.io.arena import read_arena, write_arena
from skarm.io.argilla import read_argilla, write_argilla
from skarm.io.label_studio import (
    label_studio_config,
    read_label_studio,
    write_label_studio,
)
from skarm.io.ratings import (
    read_ratings,
    read_trl_unpaired,
    write_ratings,
    write_trl_unpaired,
)
from skarm.io.responses import read_columns, read_responses, write_responses
from skarm.io.tables import read_comparisons, write_comparisons
from skarm.io.trl import read_trl, write_trl

__all__ = [
    "ItemText",
    "Preferences",
    "ReadReport",
    "Responses",
    "join_texts",
    "label_studio_config",
    "read_alpaca_eval",
    "read_arena",
    "read_argilla",
    "read_columns",
    "read_comparisons",
    "read_label_studio",
    "read_ratings",
    "read_responses",
    "read_trl",
    "read_trl_unpaired",
    "render_messages",
    "write_alpaca_eval",
    "write_arena",
    "write_argilla",
    "write_comparisons",
    "write_label_studio",
    "write_ratings",
    "write_responses",
    "write_trl",
    "write_trl_unpaired",
]
