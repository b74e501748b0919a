"""The Bradley–Terry likelihood of a linear reward: value, gradient, information.

With items Z (m, d), coefficients w, pairs (a, b) and logits s = (Z w)_a - (Z w)_b, the
penalised negative log-likelihood is

    f(w) = Σ_k c_k [ log(1 + exp(s_k)) - y_k s_k ] + alpha/2 ‖w‖²

with comparison weights c_k. Everything goes through the items: with the signed
incidence matrix B (n, m) of the pairs, s = B Z w, the gradient is Zᵀ Bᵀ c(p - y), and
the information is Zᵀ (Bᵀ diag(c v) B) Z, v = p (1 - p): the matrix in the middle is a
sparse graph Laplacian, so the (n, d) differences are never formed.
"""

import numpy as np
from scipy import sparse
from scipy.special import expit

__all__ = ["BradleyTerryLoss", "incidence", "information"]


def incidence(pairs, n_items):
    """Signed incidence matrix: +1 at the first, -1 at the second item of each row.

    Parameters
    ----------
    pairs : ndarray of shape (n_pairs, 2)
        Item indices.
    n_items : int
        Number of columns.

    Returns
    -------
    B : csr_array of shape (n_pairs, n_items)
        ``B @ Z`` are the differences of the rows of Z.
    """
    n = len(pairs)
    data = np.tile([1.0, -1.0], n)
    indptr = np.arange(0, 2 * n + 1, 2)
    return sparse.csr_array((data, pairs.reshape(-1), indptr), shape=(n, n_items))


def information(items, B, weights):
    """Σ_k weights_k x_k x_kᵀ over the differences x = B @ items, not forming them.

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, n_features)
        Z.
    B : csr_array of shape (n_pairs, n_items)
        Incidence of the pairs.
    weights : ndarray of shape (n_pairs,)
        For the Fisher information, p (1 - p) times the comparison's weight.

    Returns
    -------
    information : ndarray of shape (n_features, n_features), float64
        Symmetric positive semi-definite. Costs O(n_pairs + n_items d²).
    """
    laplacian = B.T @ (B * weights[:, None]).tocsr()
    product = items.T @ (laplacian @ items)
    product = product.toarray() if sparse.issparse(product) else product
    return (product + product.T) / 2


class BradleyTerryLoss:
    """Penalised negative log-likelihood of comparisons under a linear reward.

    Parameters
    ----------
    items : ndarray or CSR of shape (n_items, n_features), float64
        Z.
    pairs : ndarray of shape (n_pairs, 2)
        First and second item.
    y : ndarray of shape (n_pairs,)
        Outcomes in [0, 1].
    weights : ndarray of shape (n_pairs,)
        Comparison weights c.
    """

    def __init__(self, items, pairs, y, weights):
        self.items, self.y, self.weights = items, y, weights
        self.B = incidence(pairs, items.shape[0])

    def logits(self, coef):
        """Logits s = B Z w."""
        return self.B @ (self.items @ coef)

    def value(self, coef, alpha):
        """f(w)."""
        s = self.logits(coef)
        nll = self.weights @ (np.logaddexp(0, s) - self.y * s)
        return nll + alpha / 2 * coef @ coef

    def gradient(self, coef, alpha):
        """∇f(w) = Zᵀ Bᵀ c (p - y) + alpha w."""
        residual = self.weights * (expit(self.logits(coef)) - self.y)
        return self.items.T @ (self.B.T @ residual) + alpha * coef

    def information(self, coef):
        """∇²f(w) - alpha I = Σ c p (1 - p) x xᵀ."""
        p = expit(self.logits(coef))
        return information(self.items, self.B, self.weights * p * (1 - p))

    def mean_square(self):
        """Weighted mean of ‖x‖² over the comparisons, the scale of the features."""
        squares = (
            self.items * self.items
            if not sparse.issparse(self.items)
            else (self.items.multiply(self.items))
        )
        norms = np.asarray(squares.sum(axis=1)).reshape(-1)
        gram = (self.B.T @ (self.B * self.weights[:, None]).tocsr()).tocoo()
        cross = gram.data @ _row_products(self.items, gram.row, gram.col, norms)
        return max(cross, 0.0) / self.weights.sum()


def _row_products(items, rows, cols, norms):
    """zᵀ z' for the given rows, in blocks; the diagonal comes from `norms`."""
    out = norms[rows].copy()
    off = np.flatnonzero(rows != cols)
    for start in range(0, len(off), 4096):
        block = off[start : start + 4096]
        left, right = items[rows[block]], items[cols[block]]
        product = left.multiply(right) if sparse.issparse(left) else left * right
        out[block] = np.asarray(product.sum(axis=1)).reshape(-1)
    return out
