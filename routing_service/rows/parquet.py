"""Parquet: a table's columns and rows, with pyarrow, which is imported only when needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from routing_service.errors import UsageError
from routing_service.extras import pip_install
from routing_service.files import STDIO

MAGIC = b"PAR1"
# Rows may hold embeddings of thousands of numbers.
_BATCH_ROWS = 1024


class Table:
    """One Parquet file. `columns` are all its columns.

    Args:
        path: the file.
        needed: the columns to read, if they exist; none means all.

    Raises:
        UsageError: it is standard input, cannot be read, or pyarrow is missing.
    """

    def __init__(self, path: Path, needed: Sequence[str] = ()) -> None:
        if path == STDIO:
            raise UsageError("Parquet cannot be read from standard input; name the file")
        self._path = path
        with self._reading() as (_, pq):
            self.columns: tuple[str, ...] = tuple(pq.read_schema(path).names)
        self._read = [name for name in self.columns if not needed or name in needed]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows in order. Values are Python's; lists of floats are NumPy arrays.

        Raises:
            UsageError: they cannot be read.
        """
        with self._reading() as (pa, pq), pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=self._read):
                values = [_values(batch.column(name), pa) for name in self._read]
                for row in range(batch.num_rows):
                    yield {name: column[row] for name, column in zip(self._read, values, strict=True)}

    @contextmanager
    def _reading(self) -> Iterator[tuple[Any, Any]]:
        try:
            import pyarrow as pa
            from pyarrow import parquet as pq
        except ImportError as error:
            raise UsageError(
                f"{self._path}: reading Parquet needs pyarrow; run: {pip_install('routing-service', 'parquet')}"
            ) from error
        try:
            yield pa, pq
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{self._path}: cannot be read as Parquet: {error}; is the suffix right?") from error


def _values(column: Any, pa: Any) -> Sequence[Any]:
    # Arrays of numbers are a hundred times faster than lists.
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_list and pa.types.is_floating(kind.value_type):
        return [item.values.to_numpy(zero_copy_only=False) if item.is_valid else None for item in column]
    values: Sequence[Any] = column.to_pylist()
    return values
