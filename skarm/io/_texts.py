"""Texts to embed that remember the prompt and the response they were joined from."""

import numpy as np

__all__ = ["ItemText", "as_item_texts", "join_texts", "objects", "render_messages"]


class ItemText(str):
    """A text to embed that remembers the prompt and the response it was joined from.

    Equal, hashed and sliced as the text that it is.

    Parameters
    ----------
    text : str
        The joined text.
    prompt : str or list of dict, default=""
        What was asked: a text, or messages with ``role`` and ``content``.
    response : str or list of dict, default=None
        What was answered; None means the text itself.

    Examples
    --------
    >>> from skarm.io import ItemText
    >>> item = ItemText("How far? Two miles.", "How far?", "Two miles.")
    >>> item.response, len(item)
    ('Two miles.', 19)
    """

    __slots__ = ("prompt", "response")

    def __new__(cls, text, prompt="", response=None):
        """Make the text; the parts are set by ``__init__``."""
        return super().__new__(cls, text)

    def __init__(self, text, prompt="", response=None):
        self.prompt = prompt
        self.response = str(text) if response is None else response

    def __reduce__(self):
        return type(self), (str(self), self.prompt, self.response)


def join_texts(prompt, response):
    r"""Join a prompt and a response to the text that is embedded.

    Parameters
    ----------
    prompt, response : str or list of dict
        Texts, or messages, which :func:`render_messages` renders.

    Returns
    -------
    text : str
        Both with an empty line between; the response alone if the prompt is empty.

    Examples
    --------
    >>> from skarm.io import join_texts
    >>> join_texts("How far?", [{"role": "assistant", "content": "Two miles."}])
    'How far?\n\nTwo miles.'
    """
    prompt, response = render_messages(prompt), render_messages(response)
    return f"{prompt}\n\n{response}" if prompt else response


def render_messages(messages):
    r"""Render messages as plain text; leave a text as it is.

    Parameters
    ----------
    messages : str or list of dict
        Messages with ``role`` and ``content`` (a text, or parts of which those of type
        "text" are shown).

    Returns
    -------
    text : str
        The content of a single message; several as ``role: content`` with an empty line
        between.

    Examples
    --------
    >>> from skarm.io import render_messages
    >>> render_messages([{"role": "user", "content": "Hi"}])
    'Hi'
    """
    if isinstance(messages, str):
        return messages
    turns = [(message["role"], _content(message["content"])) for message in messages]
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{role}: {content}" for role, content in turns)


def _content(content):
    if isinstance(content, str) or content is None:
        return content or ""
    parts = (part.get("text") if isinstance(part, dict) else part for part in content)
    return "\n".join(part for part in parts if isinstance(part, str))


def objects(values):
    """A one-dimensional object array of the values, never a table."""
    values = list(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def as_item_texts(items):
    """Texts, or rows of a prompt and a response, as item texts."""
    if hasattr(items, "columns") and {"prompt", "response"} <= set(items.columns):
        items = items[["prompt", "response"]].to_numpy()
    if getattr(items, "ndim", 0) == 2 and items.shape[1] == 2 and items.dtype == object:
        return objects(ItemText(join_texts(p, r), p, r) for p, r in items)
    if getattr(items, "ndim", 0) == 1:
        texts = list(items)
        if all(isinstance(text, str) for text in texts):
            return objects(
                text if isinstance(text, ItemText) else ItemText(text) for text in texts
            )
    raise ValueError(
        "items must be texts to be written: one-dimensional, or rows of a prompt and a "
        f"response. Got {type(items).__name__} of shape {items.shape}. Put the texts "
        "in the place of their features: comparisons.with_items(texts)."
    )
