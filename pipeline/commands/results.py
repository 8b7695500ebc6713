"""The metrics of a dataset's evaluations, as a pandas DataFrame and as text for a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from data_contracts.errors import InputError
from data_contracts.tables.evaluations import METRICS
from resources.store.dataset_store import DatasetStore

if TYPE_CHECKING:
    import pandas as pd


def results_frame(store: DatasetStore, dataset: str) -> pd.DataFrame:
    """Return every row of METRICS of a dataset, by evaluation in the order of their names.

    Raises:
        InputError: the dataset is not registered, or has no evaluation yet.
    """
    import pandas as pd

    store.spec(dataset)
    tables = [
        table.to_pandas()
        for asset in store.assets_of(dataset)
        if (table := store.table_of(store.need_record(dataset, asset), METRICS)) is not None
    ]
    if not tables:
        raise InputError(
            f"{dataset} has no results yet", f"Run a study first: medfeat run {dataset}"
        )
    frame: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return frame


def results_text(frame: pd.DataFrame) -> str:
    """Return the metrics as a table for a terminal: of each figure its name, interval and n."""
    columns = ["method", "metric", "regularisation", "subject", "value", "n"]
    shown = frame[columns].rename(columns={"subject": "of", "regularisation": "C"})
    bounds = zip(frame["ci_low"], frame["ci_high"], strict=True)
    intervals = ["" if low != low else f"{low:.4f} - {high:.4f}" for low, high in bounds]
    shown.insert(5, "95 % interval", intervals)
    return shown.to_string(index=False, float_format="{:.4f}".format)


def results_json(frame: pd.DataFrame) -> str:
    """Return the metrics as a JSON array of objects, with null in the place of a missing bound."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1)
