"""Where in the file cells and objects lie, and which of them the ends of the stack may cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def with_places(
    table: pd.DataFrame, labels: NDArray[Any], key: str, *, first_plane: int | None
) -> pd.DataFrame:
    """A table of objects with their plane in the file, and whether a face of the stack cuts them.

    Parameters
    ----------
    table : DataFrame
        With ``centroid_z``, in planes of the labels.
    labels : ndarray of int, shape (z, y, x)
    key : str
        The column with the label of each object.
    first_plane : int or None
        Of the file, from 0, that is the first of the labels; None for a projection.

    Returns
    -------
    DataFrame
        With ``touches_z_border``: a voxel lies in the first or last plane of several; and
        ``centroid_z_in_file``: in planes of the file, NaN for a projection.

    Examples
    --------
    >>> import pandas as pd
    >>> labels = np.array([[[1, 0]], [[1, 2]], [[0, 2]], [[0, 0]]])
    >>> table = pd.DataFrame({"cell_label": [1, 2], "centroid_z": [0.5, 1.5]})
    >>> found = with_places(table, labels, "cell_label", first_plane=10)
    >>> found["touches_z_border"].tolist(), found["centroid_z_in_file"].tolist()
    ([True, False], [10.5, 11.5])
    """
    ends = labels[[0, -1]] if len(labels) > 1 else labels[:0]
    found = table.copy()
    found["touches_z_border"] = np.isin(table[key].to_numpy(np.int64), np.unique(ends))
    shift = np.nan if first_plane is None else float(first_plane)
    found["centroid_z_in_file"] = table["centroid_z"].to_numpy(np.float64) + shift
    return found
