"""The prior precision that the Laplace evidence prefers.

    log Z(alpha) = -f(ŵ) + d/2 log alpha - 1/2 log det(H + alpha I)

(MacKay, 1992), at the minimum ŵ of the loss f. A few answers say next to nothing about
alpha, and the evidence may rise all the way to "all rewards are equal, for certain". So
τ = sqrt(mean ‖x‖² / alpha), the prior standard deviation of a reward difference, has a
log-normal prior; a hundred answers outweigh it.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import BPoly, CubicHermiteSpline

from skarm._model.likelihood import Hessian
from skarm._model.newton import Minimum, descend, newton

__all__ = ["Evidence", "maximize_evidence"]

#: τ is sought in this range,
PRIOR_SD_RANGE = (1e-2, 1e2)
#: on this many values of log τ first.
N_GRID = 9
#: Median of its prior, in nats, and the standard deviation of its logarithm.
PRIOR_SD, PRIOR_LOG_SD = 1.5, 1.0
#: A direction is given up this many nats below the best.
HOPELESS = 10.0
#: A fit of the search is done at this Newton decrement per comparison, in nats.
ENOUGH = 4e-9
#: The maximum is interpolated from two fits this close to it in log alpha.
CLOSE = 0.1
#: A fit this close to it is followed by one a little further away.
RESOLUTION = 0.02
#: A factor is of use for fits this close.
NEAR = 0.4
#: A difference of log evidence, in nats, that does not matter.
NOTHING = 1e-3


class Evidence(NamedTuple):
    """What the search found."""

    alpha: float
    log_evidence: float
    minimum: Minimum
    n_iter: int


class _Point(NamedTuple):
    """The evidence at one alpha."""

    log_alpha: float
    objective: float
    ceiling: float  # -f(ŵ), above which no stronger prior can come
    bends: tuple  # its first and second derivative by log alpha
    coef: np.ndarray
    slope: np.ndarray  # d ŵ / d log alpha
    hessian: Hessian | None  # kept of large losses


def maximize_evidence(loss, start, threshold, max_iter):
    """Maximise the log evidence plus log prior over log alpha.

    The objective is evaluated on a grid from its middle outwards, each fit starting
    where the solutions of its neighbors and their tangents point, and at the maximum of
    an interpolation until that stays. It may have several
    maxima: a grid point is left out only if it cannot win, because f(ŵ) grows with
    alpha and so -f(ŵ) bounds the evidence of all stronger priors, or if weaker priors
    are hopeless already.

    Parameters
    ----------
    loss : BradleyTerryLoss or DualLoss
        Of the comparisons.
    start : ndarray of shape (n_coordinates,)
        Where the first fit starts.
    threshold, max_iter
        As for :func:`skarm._model.newton.newton`; of the last fit.

    Returns
    -------
    evidence : Evidence
        The minimum at its alpha, and the evidence there; of a dual loss with Hessians
        in float32 the latter is within 1e-6 nats a comparison.
    """
    search = _Search(loss, start, max_iter)
    strongest, weakest = (np.log(search.scale / sd**2) for sd in PRIOR_SD_RANGE)
    grid = np.linspace(weakest, strongest, N_GRID)
    middle = N_GRID // 2
    for t in grid[[middle, middle - 1, middle + 1]]:
        search.evaluate(t)
    if search.best.log_alpha == grid[middle]:
        search.refine()  # the better the best, the fewer that could win
    refined = search.best
    for t in grid[middle + 2 :]:
        inner = search.best is not search.strongest  # the best needs a neighbor
        if inner and search.bound_above(t) < search.best.objective:
            break
        search.evaluate(t)
    for t in grid[middle - 2 :: -1]:
        if search.weakest.objective < search.best.objective - HOPELESS:
            break
        search.evaluate(t)
    if search.best is not refined or refined.log_alpha in grid:
        search.refine()
    return search.finish(threshold)


def with_hessian(loss, minimum, alpha):
    """The same minimum with the Hessian that belongs to it."""
    hessian = loss.hessian_at(minimum.logits)
    factor = hessian.factor(alpha)
    return minimum._replace(hessian=hessian, factor=factor, seen=minimum.logits)


class _Search:
    """The points evaluated so far."""

    def __init__(self, loss, start, max_iter):
        self.loss, self.start, self.max_iter = loss, start, max_iter
        self.scale = loss.mean_square() or 1.0
        self.points, self.n_iter = [], 0
        self.enough = ENOUGH * loss.weights.sum()
        self.found = None  # at the best point
        self.peak = None  # of the interpolation

    @property
    def best(self):
        return max(self.points, key=lambda point: point.objective)

    @property
    def weakest(self):
        return min(self.points, key=lambda point: point.log_alpha)

    @property
    def strongest(self):
        return max(self.points, key=lambda point: point.log_alpha)

    def log_prior(self, log_alpha):
        log_sd = (np.log(self.scale) - log_alpha) / 2
        return -(((log_sd - np.log(PRIOR_SD)) / PRIOR_LOG_SD) ** 2) / 2

    def bound_above(self, log_alpha):
        """What the objective at a stronger prior than all so far cannot exceed."""
        return self.strongest.ceiling + self.log_prior(log_alpha)

    def evaluate(self, log_alpha):
        alpha = np.exp(log_alpha)
        coef, hessian = self.guess(log_alpha)
        is_near = self.points and abs(log_alpha - self.best.log_alpha) < NEAR
        known = self.found if is_near else None
        found = descend(
            *(self.loss, coef, alpha, 0.0, self.max_iter),
            hessian=hessian,
            enough=self.enough,
            known=known,
        )
        if self.is_off(found) or (is_near and found.factor is known.factor):
            found = with_hessian(self.loss.with_rough_hessians(alpha), found, alpha)
        self.n_iter += found.n_iter
        objective = self.log_evidence(found, log_alpha) + self.log_prior(log_alpha)
        # (H + alpha I) d ŵ / d log alpha = -alpha ŵ
        slope = -found.factor.solve(alpha * found.coef)
        hessian = found.hessian if self.loss.is_large else None
        # By -alpha/2 ‖ŵ‖², because ŵ is a minimum.
        fall = alpha / 2 * self.loss.inner(found.coef, found.coef, found.logits)
        cross = alpha * self.loss.inner(slope, found.coef, found.logits)
        point = _Point(
            *(log_alpha, objective, -found.value, (-fall, -fall - cross)),
            *(found.coef, slope, hessian),
        )
        self.points.append(point)
        if self.best is point:
            self.found = found._replace(hessian=hessian)

    def guess(self, log_alpha):
        """Where to start, and for a large loss a Hessian from nearby."""
        if not self.points:
            large = self.loss.is_large
            return self.start, Hessian(self.loss.moment / 4) if large else None
        near = min(self.points, key=lambda p: abs(p.log_alpha - log_alpha))
        above = [point for point in self.points if point.log_alpha > log_alpha]
        below = [point for point in self.points if point.log_alpha <= log_alpha]
        if above and below:
            ends = max(below), min(above)
            curve = CubicHermiteSpline(
                [point.log_alpha for point in ends],
                [point.coef for point in ends],
                [point.slope for point in ends],
            )
            return curve(log_alpha), near.hessian
        gap = log_alpha - near.log_alpha
        # Toward a stronger prior, ŵ shrinks as 1 / alpha at last.
        share = -np.expm1(-gap) if gap > 0 else gap
        return near.coef + share * near.slope, near.hessian

    def is_off(self, found):
        """Whether the Hessian at hand is not that of the solution, to `ENOUGH`."""
        if found.factor is None:  # it started at the solution
            return True
        moved = np.square(found.logits - found.seen)
        return self.loss.variance(found.logits) @ moved > self.enough

    def log_evidence(self, minimum, log_alpha):
        occam = self.loss.n_coordinates / 2 * log_alpha - minimum.factor.half_log_det()
        return float(occam - minimum.value)

    def refine(self):
        """Interpolate until the maximum stays where it is."""
        for _ in range(8):
            best = self.best.log_alpha
            points = sorted(self.points)
            t = np.array([point.log_alpha for point in points])
            rank = int(np.flatnonzero(t == best)[0])
            low, high = t[max(rank - 1, 0)], t[min(rank + 1, len(t) - 1)]
            fine = np.linspace(low, high, 401)
            peak = fine[np.argmax(self.interpolate(points, best, fine))]
            has_near = np.sort(np.abs(t - best))[1] < CLOSE
            if abs(peak - best) < (CLOSE if has_near else RESOLUTION):
                rise = points[min(rank + 1, len(t) - 1)].objective
                rise -= points[max(rank - 1, 0)].objective
                if high - low >= 3:
                    # Three distant values say too little: look on the higher side.
                    peak = best + 0.5 * (high - best if rise > 0 else low - best)
                elif has_near or self.loss.is_large:  # another fit costs too much
                    self.peak = peak if has_near else best
                    break
                else:  # a second nearby, on the wider side
                    peak = best + CLOSE / 2 * np.sign(high + low - 2 * best or 1)
            self.evaluate(peak)
        else:
            self.peak = self.best.log_alpha

    def interpolate(self, points, best, log_alpha):
        """The objective between sorted points.

        The loss has known derivatives. The rest, Σ log(1 + h / alpha) / 2 over the
        eigenvalues h of the Hessian, is nearly a power of alpha.
        """
        t = np.array([point.log_alpha for point in points])
        ceiling = BPoly.from_derivatives(
            t, [(point.ceiling, *point.bends) for point in points]
        )
        near = np.argsort(np.abs(t - best))[:5]
        occam = [points[k].ceiling - points[k].objective for k in near]
        occam = np.maximum(occam + self.log_prior(t[near]), NOTHING)
        power = np.polyfit(t[near] - best, np.log(occam), len(near) - 1)
        occam = np.exp(np.polyval(power, log_alpha - best))
        return ceiling(log_alpha) - occam + self.log_prior(log_alpha)

    def finish(self, threshold):
        """Converge at the maximum, and evaluate its evidence exactly."""
        log_alpha, found = self.peak, self.found
        alpha, (coef, _) = np.exp(log_alpha), self.guess(log_alpha)
        if self.loss.is_large:
            found = found._replace(factor=None)  # makes room
            found = found._replace(factor=found.hessian.factor(alpha))
        found = newton(*(self.loss, coef, alpha, threshold, self.max_iter), known=found)
        if not self.loss.is_large:
            found = with_hessian(self.loss.with_rough_hessians(alpha), found, alpha)
        value = self.log_evidence(found, log_alpha)
        return Evidence(float(alpha), value, found, self.n_iter + found.n_iter)
