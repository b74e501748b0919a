"""What users pass as texts: checked, and prompts joined with their responses."""

import string

import numpy as np

__all__ = ["TEMPLATE", "check_template", "read_texts"]

TEMPLATE = "{prompt}\n\n{response}"


def check_template(template):
    """Refuse a template without a response, or with a field that nobody fills."""
    if template == "chat":
        return
    try:
        fields = {part[1] for part in string.Formatter().parse(template)}
    except ValueError:  # a single brace
        fields = set()
    if "response" not in fields or fields - {"prompt", "response", None}:
        raise ValueError(
            "template must hold {response}, may hold {prompt}, and no other field. Got "
            f"{template!r}. Write a literal brace twice, {{{{ or }}}}, or pass 'chat'."
        )


def read_texts(X, join=TEMPLATE):
    """Check X; returns a list of str, prompts joined with their responses.

    `join` is a template, or a function of the prompts and the responses; that is also
    asked where texts remember what they were joined from, as those of skarm.io do.
    """
    kind = type(X).__name__
    if hasattr(X, "columns"):  # a data frame
        names = list(X.columns)
        if {"prompt", "response"} <= set(names):
            names = ["prompt", "response"]
        elif len(names) != 1:
            raise ValueError(
                "X must have one column, or the columns 'prompt' and 'response'. Got "
                f"the columns {names}. Select or rename them."
            )
        X = X[names]
    elif hasattr(X, "pairs"):
        X = None  # Comparisons: never look at all its pairs
    array = np.asarray(X, dtype=object)
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] in (1, 2))):
        raise ValueError(
            "X must hold texts: a list or array of str, one column, or rows of a "
            f"prompt and a response. Got {kind} of shape {array.shape}. Put a single "
            "text in a list; embed comparisons by an ItemwiseTransformer."
        )
    rows = array.tolist() if array.ndim == 2 else [(text,) for text in array.tolist()]
    for number, row in enumerate(rows):
        for entry in row:
            if not isinstance(entry, str):
                raise TypeError(
                    f"X must hold texts (str). Row {number} holds {entry!r:.60} "
                    f"({type(entry).__name__}). Convert or drop it; use '' for no text."
                )
    if array.ndim == 1 or array.shape[1] == 1:
        texts = [row[0] for row in rows]
        if not callable(join) or not all(hasattr(text, "response") for text in texts):
            return [str(text) for text in texts]
        rows = [(text.prompt, text.response) for text in texts]
    if callable(join):
        return join(*zip(*rows, strict=True)) if rows else []
    return [join.format(prompt=prompt, response=response) for prompt, response in rows]
