"""What a cell of a row must hold: texts, numbers, ids, objects, lists."""

import math
from collections.abc import Mapping
from numbers import Real

__all__ = [
    "get_id",
    "get_mapping",
    "get_number",
    "get_sequence",
    "get_text",
    "is_messages",
    "shown",
]


def is_messages(value):
    """Whether this is a list of messages with role and content."""
    return isinstance(value, list) and all(
        isinstance(message, Mapping)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), (str, list, type(None)))
        and "content" in message
        for message in value
    )


def get_text(row, name, *, default=None):
    """A text or messages; `default`, where given, for a missing one."""
    value = row.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, str):
        return value
    if is_messages(value):  # Parquet fills fields that only other messages have
        kept = ("role", "content")
        return [
            {k: v for k, v in message.items() if k in kept or v is not None}
            for message in value
        ]
    raise ValueError(
        f"column {name!r} must hold a text or messages. Got {shown(value)}; "
        f"the columns are {list(row)}."
    )


def get_number(row, name, *, low=-math.inf, high=math.inf):
    """A finite number within bounds, or None for a missing one; "0.5" is one too."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, (Real, str)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.inf
        if math.isnan(number):
            return None
        if math.isfinite(number) and low <= number <= high:
            return number
    within = "" if low == -math.inf else f" from {low:g} to {high:g}"
    raise ValueError(f"column {name!r} must hold a number{within}. Got {shown(value)}.")


def get_id(row, name):
    """A text or number, or None for a missing or empty one."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, (str, Real)):
        return value
    raise ValueError(f"column {name!r} must hold an id. Got {shown(value)}.")


def get_mapping(row, name):
    """An object with named fields."""
    value = row.get(name)
    if not isinstance(value, Mapping):
        raise ValueError(f"{name!r} must hold an object. Got {shown(value)}.")
    return value


def get_sequence(row, name):
    """A list."""
    value = row.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name!r} must hold a list. Got {shown(value)}.")
    return value


def shown(value):
    text = repr(value)
    return f"{text[:60]}..." if len(text) > 60 else text
