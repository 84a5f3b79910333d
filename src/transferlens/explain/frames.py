"""From a labelled dataset over (source, target) to a table."""

from __future__ import annotations

import numpy as np
import polars as pl
import xarray as xr

__all__ = ["cell_frame"]


def cell_frame(data: xr.Dataset) -> pl.DataFrame:
    """Return one row per source and target; a variable of one axis is repeated, NaN stays NaN."""
    axes = ("source", "target")
    shape = tuple(data.sizes[axis] for axis in axes)
    columns = {
        "source": np.repeat(data["source"].values.astype(str), shape[1]).tolist(),
        "target": np.tile(data["target"].values.astype(str), shape[0]).tolist(),
    }
    for name, values in data.data_vars.items():
        missing = [axis for axis in axes if axis not in values.dims]
        whole = values.expand_dims({axis: data.sizes[axis] for axis in missing})
        # Lists of words: polars does not take NumPy's own strings.
        columns[str(name)] = whole.transpose(*axes).values.ravel().tolist()
    return pl.DataFrame(columns)
