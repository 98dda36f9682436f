"""Li's intensity correlation analysis: whether two stains rise and fall together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aequorea.colocalization.channel_pair import channel_pair

__all__ = ["li_ica"]


def li_ica(a: npt.ArrayLike, b: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> dict[str, Any]:
    """Covariance product of every pixel, and the intensity correlation quotient.

    Parameters
    ----------
    a, b : array_like
        Same-shape intensity images.
    mask : array_like, optional
        Non-zero where pixels count.

    Returns
    -------
    dict
        ``a``, ``b`` (flattened intensities in the region), ``products`` (of each pixel,
        (a − mean a)(b − mean b)) and ``icq``, the fraction of non-zero products that are
        positive, minus 0.5: +0.5 dependent, 0 random, −0.5 segregated.

    Raises
    ------
    ValueError
        If shapes differ, the region has fewer than two pixels, or an intensity is not finite.

    Notes
    -----
    Products of exactly zero are left out of the quotient, as napari-colocalization does; Coloc 2
    counts them as positive and JACoP as not positive. A constant channel has no non-zero product:
    ``icq`` is NaN then. The quotient carries no significance: neighbouring pixels are not
    independent.

    References
    ----------
    .. [1] Li et al. (2004), doi:10.1523/JNEUROSCI.0346-04.2004

    Examples
    --------
    >>> result = li_ica([0, 0, 4, 4], [1, 2, 6, 7])
    >>> result["icq"], result["products"].tolist()
    (0.5, [6.0, 4.0, 4.0, 6.0])
    """
    pair = channel_pair(a, b, mask, varying=False)
    values_a, values_b = pair.values()
    products = values_a - values_a.mean(dtype=np.float64)
    products *= values_b - values_b.mean(dtype=np.float64)
    varying = values_a.min() < values_a.max() and values_b.min() < values_b.max()
    n_unequal = np.count_nonzero(products)
    icq = np.count_nonzero(products > 0) / n_unequal - 0.5 if n_unequal and varying else np.nan
    return {"a": values_a, "b": values_b, "products": products, "icq": float(icq)}
