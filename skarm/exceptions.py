"""The exceptions skarm owns; everything else raises Python's or scikit-learn's."""

__all__ = ["PoolExhaustedError"]


class PoolExhaustedError(ValueError):
    """More pairs were asked for than there are candidates, or budget, left."""
