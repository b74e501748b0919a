"""Items of many kinds under one roof: arrays, CSR, DataFrames, texts, tensors."""

import numpy as np
from scipy import sparse

__all__ = [
    "as_numpy",
    "check_item_groups",
    "check_items",
    "describe_items",
    "first_appearance",
    "same_items",
    "stack_items",
    "to_dense",
]


def as_numpy(array):
    """An array, list or tensor as ndarray; memmaps stay memmaps."""
    if hasattr(array, "detach"):  # torch tensor; bfloat16 has no numpy twin
        tensor = array.detach().cpu()
        array = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    return array if isinstance(array, np.ndarray) else np.asarray(array)


def to_dense(matrix):
    """A sparse matrix as ndarray; anything else as it is."""
    return matrix.toarray() if sparse.issparse(matrix) else matrix


def check_items(items):
    """Items as an indexable store, without copying where that can be avoided."""
    if hasattr(type(items), "pair_groups"):  # the type: a DataFrame has any attribute
        raise TypeError(
            "items must be the things compared, one row each. Got Comparisons; "
            "pass its .items."
        )
    if isinstance(items, str):
        raise TypeError(
            "items must be a list or array of texts. Got one str; wrap it in a list."
        )
    if sparse.issparse(items):
        return items if items.format == "csr" else items.tocsr()
    if hasattr(items, "iloc"):
        if getattr(items, "ndim", 2) == 2:
            return items
        items = items.to_numpy()  # Series
    elif isinstance(items, (list, tuple)) and items and isinstance(items[0], str):
        items = np.array(items, dtype=object)
    items = as_numpy(items)
    if (items.ndim == 1 and items.dtype.kind in "OUST") or items.size == 0:
        return items
    if items.ndim != 2:
        raise ValueError(
            "items must be rows of features, shape (n_items, n_features), or a "
            f"one-dimensional array of texts. Got shape {items.shape}."
        )
    return items


def check_item_groups(groups, n_items):
    """One group label per item, or None."""
    if groups is None:
        return None
    groups = np.array(groups)
    if groups.shape != (n_items,):
        raise ValueError(
            "groups must hold one group per item. "
            f"Got shape {groups.shape} for {n_items} items."
        )
    return groups


def describe_items(items):
    """What the items are, for a repr."""
    if hasattr(items, "iloc"):
        return f"rows of a DataFrame with {items.shape[1]} columns"
    if len(items.shape) == 1:
        return "texts"
    layout = "sparse items" if sparse.issparse(items) else "items"
    return f"{layout} of {items.shape[1]} features"


def stack_items(parts):
    """Rows of several stores, one after the other."""
    kinds = dict.fromkeys(
        describe_items(part)
        + (f" {list(part.columns)}" if hasattr(part, "iloc") else "")
        for part in parts
    )
    if len(kinds) > 1:
        raise ValueError(
            "items can be joined only if they are of one kind and have the same "
            f"columns. Got {' and '.join(kinds)}."
        )
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts, ignore_index=True)
    return np.concatenate(parts)


def first_appearance(items):
    """Positions of the distinct rows, and the number of each row among them."""
    if hasattr(items, "iloc"):
        rows = list(items.itertuples(index=False, name=None))
    elif sparse.issparse(items):
        items = items.copy()
        items.sum_duplicates()
        items.eliminate_zeros()
        cuts = zip(items.indptr[:-1], items.indptr[1:], strict=True)
        rows = [
            (items.indices[a:b].tobytes(), items.data[a:b].tobytes()) for a, b in cuts
        ]
    elif items.ndim == 1:
        rows = items.tolist()
    elif items.dtype.kind in "OT":
        rows = [tuple(row) for row in items.tolist()]
    else:
        if items.dtype.kind == "f":
            items = items + 0.0  # -0.0 equals 0.0, though its bytes differ
        rows = [row.tobytes() for row in np.ascontiguousarray(items)]
    number, keep = {}, []
    code = np.empty(len(rows), dtype=np.intp)
    for position, row in enumerate(rows):
        if row not in number:
            number[row] = len(keep)
            keep.append(position)
        code[position] = number[row]
    return np.array(keep, dtype=np.intp), code


def same_items(left, right):
    """Whether two stores hold the same items, row for row."""
    if left is right:
        return True
    if describe_items(left) != describe_items(right) or left.shape != right.shape:
        return False
    if sparse.issparse(left):
        return (left != right).nnz == 0
    if hasattr(left, "iloc"):
        return left.equals(right)
    return bool(np.array_equal(left, right))
