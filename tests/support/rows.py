"""Files of rows in every shape that is read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows as the name says: Parquet, CSV, tab-separated, plain text (rows of one prompt), else JSON lines."""
    inner = path.with_suffix("") if path.suffix == ".gz" else path
    if inner.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    if inner.suffix in (".csv", ".tsv"):
        content = _table(rows, "\t" if inner.suffix == ".tsv" else ",")
    elif inner.suffix == ".txt":
        content = "".join(row["prompt"] + "\n" for row in rows)
    else:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _table(rows: Sequence[Row], delimiter: str) -> str:

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in row.items()})
    return text.getvalue()
