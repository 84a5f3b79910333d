"""Small local folders in the hub's layout, with the columns of the real datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

Rows = Sequence[Mapping[str, Any]]


def write_parquet(file: Path, rows: Rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), file)


def write_hub_folder(folder: Path, subsets: Mapping[str, Mapping[str, Rows]]) -> Path:
    """Write Parquet files, and the README whose head says which file is which split."""
    configs = []
    for subset, splits in subsets.items():
        place = "data" if subset == "default" else subset
        files = []
        for split, rows in splits.items():
            write_parquet(folder / place / f"{split}-00000-of-00001.parquet", rows)
            files.append({"split": split, "path": f"{place}/{split}-*"})
        configs.append({"config_name": subset, "data_files": files})
    head = yaml.safe_dump({"license": "mit", "configs": configs}, sort_keys=False)
    (folder / "README.md").write_text(f"---\n{head}---\n\n# A dataset\n", encoding="utf-8")
    return folder


def write_json_folder(folder: Path, name: str, rows: Rows) -> Path:
    """Write one file of JSON lines, or one JSON list, as some datasets are on the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in rows]
    text = "\n".join(lines) if name.endswith(".jsonl") else json.dumps(list(rows))
    (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder
