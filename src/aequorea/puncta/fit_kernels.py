"""Fitting pixel-integrated Gaussians in small windows: iterations, one window after another.

Positions and widths are in voxels, brightness in photons. A window has three axes; a plane is a
window one voxel high whose spots are not spread along z. NaN marks voxels without a value.

The parameters of a window are its background, then brightness, z, y and x of each spot, then the
widths along z and within the plane. They maximise the likelihood of a Poisson variable of mean
``model + variance`` for ``value + variance`` (Huang et al. 2013, doi:10.1038/nmeth.2488), found by
Fisher scoring with damped steps: least squares, weighted by the model of the step before.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = [
    "CONVERGED",
    "FLAT",
    "LOST",
    "NO_LIGHT",
    "TOO_FEW",
    "UNFINISHED",
    "WANDERED",
    "add_spots",
    "fit_windows",
]

CONVERGED, TOO_FEW, UNFINISHED, WANDERED, NO_LIGHT, FLAT, LOST = range(7)

_STEP = 1e-3  # of the width or the brightness: far below any standard error
_FAINT = 0.02  # of the brightness at the start: nothing was there
_STIFF = 1e9
_WIDTHS = (0.4, 2.5)  # times the given width


@njit(cache=True, nogil=True)
def fit_windows(  # type: ignore[no-untyped-def]  # noqa: ANN201
    windows,  # noqa: ANN001
    spot_index,  # noqa: ANN001
    spots,  # noqa: ANN001
    fixed_index,  # noqa: ANN001
    fixed,  # noqa: ANN001
    sigma,  # noqa: ANN001
    variance,  # noqa: ANN001
    floor,  # noqa: ANN001
    prior,  # noqa: ANN001
    reach,  # noqa: ANN001
    fit_width,  # noqa: ANN001
    robust,  # noqa: ANN001
    max_iterations,  # noqa: ANN001
):
    """Fit each window; its own spot is the first of its spots.

    ``spots[spot_index[i]:spot_index[i + 1]]`` are the spots to fit in window i, as brightness, z,
    y and x from its first voxel; ``fixed`` likewise those that are only added to the model.
    ``prior`` is the expected brightness and the inverse of its variance. Returned are the spots,
    then for each window the background, the widths, the standard errors of background, brightness,
    z, y, x and widths, chi-square, twice the negative log-likelihood, the degrees of freedom and
    the state.
    """
    n = len(windows)
    fitted = spots.copy()
    background = np.full(n, np.nan)
    widths = np.full((n, 2), np.nan)
    errors = np.full((n, 7), np.nan)
    chi2 = np.full(n, np.nan)
    deviance = np.full(n, np.nan)
    freedom = np.zeros(n, np.int64)
    state = np.zeros(n, np.int64)
    for i in range(n):
        first, last = spot_index[i], spot_index[i + 1]
        theta, error, chi2[i], deviance[i], freedom[i], state[i] = _fit(
            windows[i],
            spots[first:last],
            fixed[fixed_index[i] : fixed_index[i + 1]],
            sigma,
            variance,
            floor[i],
            prior,
            reach,
            fit_width,
            robust,
            max_iterations,
        )
        background[i] = theta[0]
        for k in range(first, last):
            for j in range(4):
                fitted[k, j] = theta[1 + 4 * (k - first) + j]
        for j in range(5):
            errors[i, j] = error[j]
        for j in range(2):
            widths[i, j] = theta[len(theta) - 2 + j]
            errors[i, 5 + j] = error[len(error) - 2 + j]
    return fitted, background, widths, errors, chi2, deviance, freedom, state


@njit(cache=True, nogil=True)
def _fit(  # type: ignore[no-untyped-def]  # noqa: ANN202
    window,  # noqa: ANN001
    spots,  # noqa: ANN001
    fixed,  # noqa: ANN001
    sigma,  # noqa: ANN001
    variance,  # noqa: ANN001
    floor,  # noqa: ANN001
    prior,  # noqa: ANN001
    reach,  # noqa: ANN001
    fit_width,  # noqa: ANN001
    robust,  # noqa: ANN001
    max_iterations,  # noqa: ANN001
):
    m = len(spots)
    deep = window.shape[0] > 1
    free = _free_parameters(m, deep, fit_width)
    p = len(free)
    theta = np.zeros(3 + 4 * m)
    error = np.full(len(theta), np.nan)
    for k in range(m):
        for j in range(4):
            theta[1 + 4 * k + j] = spots[k, j]
    theta[-2], theta[-1] = sigma[0], sigma[1]
    ratio = sigma[2] / sigma[1]
    base = np.full(window.shape, variance)
    add_spots(base, fixed, sigma, deep)
    seen, theta[0] = _outskirts(window, base)
    if seen <= p:
        return theta, error, np.nan, np.nan, seen - p, TOO_FEW
    for k in range(m):
        if not theta[1 + 4 * k] > 0:
            theta[1 + 4 * k] = _first_brightness(window, base, spots[k], sigma, theta[0], deep)
    start = theta.copy()

    model, weight = np.empty(window.shape), np.zeros(window.shape)
    gradient, fisher, step = np.zeros(p), np.zeros((p, p)), np.zeros(p)
    next_gradient, next_fisher = np.empty(p), np.empty((p, p))
    trial, cost = theta.copy(), np.inf
    damping, state, small = 1e-3, UNFINISHED, False
    for _ in range(max_iterations):
        trial_cost, next_cost = _evaluate(
            window,
            base,
            trial,
            ratio,
            deep,
            free,
            floor,
            prior,
            weight,
            model,
            next_gradient,
            next_fisher,
        )
        if trial_cost <= cost or small:
            cost = next_cost
            for j in range(len(theta)):
                theta[j] = trial[j]
            for j in range(p):
                gradient[j] = next_gradient[j]
                for k in range(p):
                    fisher[j, k] = next_fisher[j, k]
            _reweigh(weight, model, floor)
            damping = max(0.1 * damping, 1e-9)
            if small:
                state = CONVERGED
                break
        else:
            damping *= 10
        while damping < _STIFF and not _solve(fisher, damping, gradient, step):
            damping = max(10 * damping, 1e-6)
        if damping >= _STIFF:
            state = FLAT
            break
        for j in range(len(theta)):
            trial[j] = theta[j]
        for j in range(p):
            trial[free[j]] += step[j]
        _keep_within(trial, start, reach, sigma)
        small = _is_small(trial, theta, sigma)
    if state == CONVERGED:
        state = _verdict(theta, start, reach, sigma, deep)
    if not _errors(window, base, theta, ratio, deep, free, floor, fisher, robust, error):
        state = FLAT if state == CONVERGED else state
    chi2, deviance = _misfit(window, model, floor)
    return theta, error, chi2, deviance, seen - p, state


@njit(cache=True, nogil=True)
def _free_parameters(m, deep, fit_width):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    free = np.empty(3 + 4 * m, np.int64)
    free[0] = 0
    p = 1
    for j in range(4 * m):
        if deep or j % 4 != 1:
            free[p] = 1 + j
            p += 1
    if fit_width:
        if deep:
            free[p] = 1 + 4 * m
            p += 1
        free[p] = 2 + 4 * m
        p += 1
    return free[:p]


@njit(cache=True, nogil=True)
def _cumulative(u):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return 0.5 * (1 + math.erf(u / math.sqrt(2.0)))


@njit(cache=True, nogil=True)
def _profile(centre, width, size, share, slope, spread):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Share of the light in each voxel, and its derivative by the centre and by the width."""
    density = 1 / math.sqrt(2 * math.pi)
    u = (-0.5 - centre) / width
    below, height = _cumulative(u), density * math.exp(-0.5 * u * u)
    for i in range(size):
        v = (i + 0.5 - centre) / width
        above, next_height = _cumulative(v), density * math.exp(-0.5 * v * v)
        share[i] = above - below
        slope[i] = (height - next_height) / width
        spread[i] = (u * height - v * next_height) / width
        u, below, height = v, above, next_height


@njit(cache=True, nogil=True)
def add_spots(base, fixed, sigma, deep):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add spots, as brightness, z, y and x, to an image, in place."""
    shape = base.shape
    unused = np.empty(max(shape))
    z, y, x = np.ones(shape[0]), np.empty(shape[1]), np.empty(shape[2])
    for k in range(len(fixed)):
        if deep:
            _profile(fixed[k, 1], sigma[0], shape[0], z, unused, unused)
        _profile(fixed[k, 2], sigma[1], shape[1], y, unused, unused)
        _profile(fixed[k, 3], sigma[2], shape[2], x, unused, unused)
        for a in range(shape[0]):
            for b in range(shape[1]):
                zy = fixed[k, 0] * z[a] * y[b]
                for c in range(shape[2]):
                    base[a, b, c] += zy * x[c]


@njit(cache=True, nogil=True)
def _outskirts(window, base):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Number of voxels with a value, and the mean of those on the window's sides."""
    total, n, seen = 0.0, 0, 0
    shape = window.shape
    for a in range(shape[0]):
        outer_a = shape[0] > 1 and a in (0, shape[0] - 1)
        for b in range(shape[1]):
            outer_b = outer_a or b in (0, shape[1] - 1)
            for c in range(shape[2]):
                if math.isnan(window[a, b, c]):
                    continue
                seen += 1
                if outer_b or c in (0, shape[2] - 1):
                    total += window[a, b, c] - base[a, b, c]
                    n += 1
    return seen, total / n if n else 0.0


@njit(cache=True, nogil=True)
def _first_brightness(window, base, spot, sigma, background, deep):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """From the voxel in the middle, or the brightest one beside it."""
    shape = window.shape
    peak = 0.0
    for a in range(shape[0]):
        for b in range(shape[1]):
            for c in range(shape[2]):
                near = abs(b - spot[2]) <= 1 and abs(c - spot[3]) <= 1
                if near and (not deep or abs(a - spot[1]) <= 1):
                    value = window[a, b, c] - base[a, b, c] - background
                    if value > peak:
                        peak = value
    share = _central(sigma[1]) * _central(sigma[2])
    if deep:
        share *= _central(sigma[0])
    return max(peak, 1e-6 * abs(background), 1e-12) / share


@njit(cache=True, nogil=True)
def _central(sigma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return math.erf(0.5 / sigma / math.sqrt(2.0))


# Sums in any order, so that the processor adds several voxels at a time; NaN stay NaN.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _evaluate(  # type: ignore[no-untyped-def]  # noqa: ANN202
    window,  # noqa: ANN001
    base,  # noqa: ANN001
    theta,  # noqa: ANN001
    ratio,  # noqa: ANN001
    deep,  # noqa: ANN001
    free,  # noqa: ANN001
    floor,  # noqa: ANN001
    prior,  # noqa: ANN001
    weight,  # noqa: ANN001
    model,  # noqa: ANN001
    gradient,  # noqa: ANN001
    fisher,  # noqa: ANN001
):
    """Model, gradient and Fisher information; chi-square by the given and by the new weights."""
    m, p = (len(theta) - 3) // 4, len(free)
    share, slope, spread = _profiles(window.shape, theta, ratio, deep)
    gradient[:] = 0
    fisher[:] = 0
    size = window.shape[2]
    n_along = 1 + (3 * m if free[p - 1] > 4 * m else 2 * m)
    along = np.ones((n_along, size))
    for k in range(m):
        for c in range(size):
            along[1 + 2 * k, c] = share[k, 2, c]
            along[2 + 2 * k, c] = slope[k, 2, c]
            if n_along > 1 + 2 * m:
                along[1 + 2 * m + k, c] = ratio * spread[k, 2, c]
    across = np.zeros((p, n_along))
    mean, information, pull = np.empty(size), np.empty(size), np.empty(size)
    sums, products = np.empty(n_along), np.empty((n_along, n_along))
    partial = np.empty(n_along)
    by_old, by_new = 0.0, 0.0
    for a in range(window.shape[0]):
        for b in range(window.shape[1]):
            for c in range(size):
                mean[c] = base[a, b, c] + theta[0]
            for k in range(m):
                light = theta[1 + 4 * k] * share[k, 0, a] * share[k, 1, b]
                for c in range(size):
                    mean[c] += light * share[k, 2, c]
            for c in range(size):
                model[a, b, c] = mean[c]
                rest = window[a, b, c] - mean[c]
                seen = rest == rest  # not NaN
                rest = rest if seen else 0.0
                w = (1.0 if seen else 0.0) / max(mean[c], floor)
                information[c], pull[c] = w, w * rest
                by_old += weight[a, b, c] * rest * rest
                by_new += w * rest * rest
            for q in range(n_along):
                total = 0.0
                for c in range(size):
                    total += pull[c] * along[q, c]
                sums[q] = total
                for r in range(q + 1):
                    total = 0.0
                    for c in range(size):
                        total += information[c] * along[q, c] * along[r, c]
                    products[q, r] = products[r, q] = total
            _across(across, free, theta, share, slope, spread, a, b)
            for i in range(p):
                first, last = _span(free[i], m, n_along)
                for r in range(n_along):
                    total = 0.0
                    for q in range(first, last):
                        total += across[i, q] * products[q, r]
                    partial[r] = total
                for q in range(first, last):
                    gradient[i] += across[i, q] * sums[q]
                for j in range(i + 1):
                    begin, end = _span(free[j], m, n_along)
                    for r in range(begin, end):
                        fisher[i, j] += partial[r] * across[j, r]
    excess = 0.0
    for i in range(p):
        if 0 < free[i] <= 4 * m and free[i] % 4 == 1:
            rest = prior[0] - theta[free[i]]
            excess += prior[1] * rest * rest
            gradient[i] += prior[1] * rest
            fisher[i, i] += prior[1]
        for j in range(i):
            fisher[j, i] = fisher[i, j]
    return by_old + excess, by_new + excess


@njit(cache=True, nogil=True)
def _span(parameter, m, n_along):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Which functions along x a parameter's derivative is made of."""
    if parameter == 0:
        return 0, 1
    if parameter > 4 * m:
        return 1, n_along
    k, d = (parameter - 1) // 4, (parameter - 1) % 4
    place = 2 + 2 * k if d == 3 else 1 + 2 * k
    return place, place + 1


@njit(cache=True, nogil=True)
def _across(across, free, theta, share, slope, spread, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Factors of the functions along x in each derivative, in row b of plane a."""
    m = share.shape[0]
    for i in range(len(free)):
        if free[i] == 0:
            across[i, 0] = 1.0
            continue
        if free[i] > 4 * m:
            for k in range(m):
                light, z, y = theta[1 + 4 * k], share[k, 0, a], share[k, 1, b]
                if free[i] == 1 + 4 * m:
                    across[i, 1 + 2 * k] = light * spread[k, 0, a] * y
                else:
                    across[i, 1 + 2 * k] = light * z * spread[k, 1, b]
                    across[i, 1 + 2 * m + k] = light * z * y
            continue
        k, d = (free[i] - 1) // 4, (free[i] - 1) % 4
        light, z, y = theta[1 + 4 * k], share[k, 0, a], share[k, 1, b]
        if d == 0:
            across[i, 1 + 2 * k] = z * y
        elif d == 1:
            across[i, 1 + 2 * k] = light * slope[k, 0, a] * y
        elif d == 2:
            across[i, 1 + 2 * k] = light * z * slope[k, 1, b]
        else:
            across[i, 2 + 2 * k] = light * z * y


@njit(cache=True, nogil=True)
def _profiles(shape, theta, ratio, deep):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    m = (len(theta) - 3) // 4
    size = max(shape)
    share, slope, spread = np.zeros((m, 3, size)), np.zeros((m, 3, size)), np.zeros((m, 3, size))
    for k in range(m):
        for d in range(3):
            if d == 0 and not deep:
                share[k, d, 0] = 1.0
                continue
            width = theta[-2] if d == 0 else theta[-1] * (ratio if d == 2 else 1.0)
            e = shape[d]
            _profile(theta[2 + 4 * k + d], width, e, share[k, d], slope[k, d], spread[k, d])
    return share, slope, spread


@njit(cache=True, nogil=True)
def _light(a, b, c, theta, share, slope, spread, ratio, derivative):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Light of all spots in a voxel, and how it changes with each parameter."""
    total = 0.0
    by_depth, by_width = 0.0, 0.0
    for k in range(share.shape[0]):
        j = 1 + 4 * k
        light = theta[j]
        z, y, x = share[k, 0, a], share[k, 1, b], share[k, 2, c]
        zy, yx = light * z * y, light * y * x
        derivative[j] = z * y * x
        derivative[j + 1] = slope[k, 0, a] * yx
        derivative[j + 2] = light * z * slope[k, 1, b] * x
        derivative[j + 3] = zy * slope[k, 2, c]
        by_depth += spread[k, 0, a] * yx
        by_width += z * light * (spread[k, 1, b] * x + ratio * y * spread[k, 2, c])
        total += zy * x
    derivative[-2], derivative[-1] = by_depth, by_width
    return total


@njit(cache=True, nogil=True)
def _reweigh(weight, model, floor):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for a in range(weight.shape[0]):
        for b in range(weight.shape[1]):
            for c in range(weight.shape[2]):
                weight[a, b, c] = 1 / max(model[a, b, c], floor)


@njit(cache=True, nogil=True)
def _solve(matrix, damping, right, step):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Cholesky's way; whether the damped matrix was positive definite."""
    p = len(right)
    lower = np.empty((p, p))
    if not _factor(matrix, damping, lower):
        return False
    for i in range(p):
        step[i] = right[i]
        for k in range(i):
            step[i] -= lower[i, k] * step[k]
        step[i] /= lower[i, i]
    for i in range(p - 1, -1, -1):
        for k in range(i + 1, p):
            step[i] -= lower[k, i] * step[k]
        step[i] /= lower[i, i]
    return True


@njit(cache=True, nogil=True)
def _factor(matrix, damping, lower):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    p = len(matrix)
    for i in range(p):
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total *= 1 + damping
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                if not total > 1e-13 * matrix[i, i]:
                    return False
                lower[i, i] = math.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    return True


@njit(cache=True, nogil=True)
def _keep_within(trial, start, reach, sigma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    m = (len(trial) - 3) // 4
    for k in range(m):
        j = 1 + 4 * k
        trial[j] = max(trial[j], _FAINT * start[j])
        for d in range(3):
            low, high = start[j + 1 + d] - reach[d], start[j + 1 + d] + reach[d]
            trial[j + 1 + d] = min(max(trial[j + 1 + d], low), high)
    for d in range(2):
        low, high = _WIDTHS[0] * sigma[d], _WIDTHS[1] * sigma[d]
        trial[1 + 4 * m + d] = min(max(trial[1 + 4 * m + d], low), high)


@njit(cache=True, nogil=True)
def _is_small(trial, theta, sigma):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    m = (len(theta) - 3) // 4
    brightest = 0.0
    for k in range(m):
        j = 1 + 4 * k
        brightest = max(brightest, theta[j])
        if abs(trial[j] - theta[j]) > _STEP * theta[j]:
            return False
        for d in range(3):
            if abs(trial[j + 1 + d] - theta[j + 1 + d]) > _STEP * sigma[d]:
                return False
    per_voxel = brightest / (sigma[0] * sigma[1] * sigma[2])
    widths_settled = (
        abs(trial[-2] - theta[-2]) <= _STEP * sigma[0]
        and abs(trial[-1] - theta[-1]) <= _STEP * sigma[1]
    )
    return widths_settled and abs(trial[0] - theta[0]) <= _STEP * (abs(theta[0]) + 0.1 * per_voxel)


@njit(cache=True, nogil=True)
def _verdict(theta, start, reach, sigma, deep):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether the first spot, and its width, ended short of what they were kept within."""
    if theta[1] <= 1.01 * _FAINT * start[1]:
        return NO_LIGHT
    for d in range(0 if deep else 1, 3):
        if abs(theta[2 + d] - start[2 + d]) > 0.999 * reach[d]:
            return WANDERED
    for d in range(2):
        width = theta[len(theta) - 2 + d] / sigma[d]
        if not 1.001 * _WIDTHS[0] < width < 0.999 * _WIDTHS[1]:
            return LOST
    return CONVERGED


@njit(cache=True, nogil=True)
def _errors(  # type: ignore[no-untyped-def]  # noqa: ANN202
    window,  # noqa: ANN001
    base,  # noqa: ANN001
    theta,  # noqa: ANN001
    ratio,  # noqa: ANN001
    deep,  # noqa: ANN001
    free,  # noqa: ANN001
    floor,  # noqa: ANN001
    fisher,  # noqa: ANN001
    robust,  # noqa: ANN001
    error,  # noqa: ANN001
):
    """Standard errors from the inverse information; ``robust``: whatever the noise (sandwich)."""
    p = len(free)
    inverse = np.empty((p, p))
    unit = np.zeros(p)
    for i in range(p):
        for j in range(p):
            unit[j] = 1.0 if i == j else 0.0
        if not _solve(fisher, 0.0, unit, inverse[i]):
            return False
    scores, inflation = fisher, 1.0
    if robust:
        scores, n = _score_products(window, base, theta, ratio, deep, free, floor)
        inflation = n / (n - p)
    for i in range(p):
        total = 0.0
        for j in range(p):
            for k in range(p):
                total += inverse[i, j] * scores[j, k] * inverse[i, k]
        error[free[i]] = math.sqrt(max(total * inflation, 0.0))
    return True


@njit(cache=True, nogil=True)
def _score_products(window, base, theta, ratio, deep, free, floor):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Sum over voxels of the outer product of their part in the gradient."""
    p = len(free)
    total = np.zeros((p, p))
    share, slope, spread = _profiles(window.shape, theta, ratio, deep)
    derivative = np.zeros(len(theta))
    derivative[0] = 1
    n = 0
    for a in range(window.shape[0]):
        for b in range(window.shape[1]):
            for c in range(window.shape[2]):
                value = window[a, b, c]
                if math.isnan(value):
                    continue
                n += 1
                mean = base[a, b, c] + theta[0]
                mean += _light(a, b, c, theta, share, slope, spread, ratio, derivative)
                part = (value - mean) / max(mean, floor)
                for i in range(p):
                    for j in range(p):
                        total[i, j] += part * part * derivative[free[i]] * derivative[free[j]]
    return total, n


@njit(cache=True, nogil=True)
def _misfit(window, model, floor):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    chi2, deviance = 0.0, 0.0
    for a in range(window.shape[0]):
        for b in range(window.shape[1]):
            for c in range(window.shape[2]):
                value = window[a, b, c]
                if math.isnan(value):
                    continue
                mean = max(model[a, b, c], floor)
                chi2 += (value - model[a, b, c]) ** 2 / mean
                deviance += 2 * (mean - max(value, 0.0) * math.log(mean))
    return chi2, deviance
