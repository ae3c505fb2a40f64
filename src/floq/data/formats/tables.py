"""Reading of Arrow and Parquet files that may be damaged, cut short or hostile.

Their metadata may lie, so that sizes are checked as it declares them and again as rows come, a
piece at a time.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from floq.data.npz import check_declared
from floq.extras import require_extra

_PIECE = 65_536
_METADATA_BYTES = 2**24


class Table:
    """The rows of a file.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, table: Any):
        """Wraps a table of pyarrow."""
        self.path = path
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    def names(self) -> list[str]:
        """Its columns."""
        return self._table.column_names

    def fields(self, name: str) -> list[str]:
        """Those of a column that has fields; none of one that is not there."""
        kind = self._table.schema.field(name).type if name in self.names() else None
        return [] if kind is None else [kind.field(index).name for index in range(kind.num_fields)]

    def array(self, name: str, shape: tuple[int, ...] | None) -> np.ndarray:
        """A column as an array of numbers (rows, …).

        Args:
            name: The column; a field of a column that has fields as column/field.
            shape: Of a row; None takes the row's own length, as one dimension.

        Raises:
            ValueError: There is none of that name, a value is missing, or it has another shape.
        """
        import pyarrow as pa  # pyright: ignore[reportMissingImports]

        where, column = f"{self.path}: {name}", self._column(name)
        rows = len(column)
        sizes = ()
        while pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            lengths = np.asarray(column.value_lengths())
            if lengths.size and (lengths != lengths[0]).any():
                row = int(np.flatnonzero(lengths != lengths[0])[0])
                raise ValueError(
                    f"{where} has {lengths[0]} entries in row 0 and {lengths[row]} in row {row}: "
                    "all must have as many"
                )
            sizes += (int(lengths[0]) if lengths.size else 0,)
            column = column.flatten()
        if not (
            pa.types.is_floating(column.type)
            or pa.types.is_integer(column.type)
            or pa.types.is_boolean(column.type)
        ):
            raise ValueError(
                f"{where} holds values of type {column.type}, where numbers are needed"
            )
        if column.null_count:
            raise ValueError(f"{where} has entries without a value: leave out episodes with such")
        values = column.to_numpy(zero_copy_only=False)
        wanted = (math.prod(sizes),) if shape is None else shape
        if values.size != rows * math.prod(wanted):
            raise ValueError(
                f"{where} has {math.prod(sizes)} entries a row, where {math.prod(wanted)} are due"
            )
        return values.reshape(rows, *wanted)

    def holds_bytes(self, name: str) -> bool:
        """Whether a column, named as in `array`, is there and has bytes in its cells."""
        kind: Any = self._table.schema
        for field in self._path(name):
            index = kind.get_field_index(field) if hasattr(kind, "get_field_index") else -1
            if index < 0:
                return False
            kind = kind.field(index).type
        return _is_of_bytes(kind)

    def cells(self, name: str) -> list[bytes]:
        """The bytes in each row of a column, named as in `array`.

        Raises:
            ValueError: There is none of that name, a value is missing, or it is none of bytes.
        """
        column = self._column(name)
        if not _is_of_bytes(column.type):
            raise ValueError(
                f"{self.path}: {name} holds values of type {column.type}, where bytes of pictures "
                "are needed"
            )
        return column.to_pylist()

    def _path(self, name: str) -> list[str]:
        """A column's own name, and those of the fields on the way to one in it."""
        return [name] if name in self.names() else name.split("/")

    def _column(self, name: str) -> Any:
        """A column, or a field of one, whose every row has a value."""
        import pyarrow as pa  # pyright: ignore[reportMissingImports]

        where = f"{self.path}: {name}"
        first, *inner = self._path(name)
        if first not in self.names():
            raise ValueError(f"{where} is no column; there is {', '.join(self.names()[:20])}")
        column: Any = self._table[first].combine_chunks()
        for field in inner:
            if not pa.types.is_struct(column.type) or column.type.get_field_index(field) < 0:
                raise ValueError(f"{where} is no column: {first} has the type {column.type}")
            column = column.field(field)
        if column.null_count:
            row = int(np.flatnonzero(column.is_null())[0])
            raise ValueError(
                f"{where} has no value in row {row}: leave out episodes with such rows"
            )
        return column


def _is_of_bytes(kind: Any) -> bool:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def read(path: Path, columns: list[str] | None = None) -> Table:
    """The rows of an Arrow or Parquet file.

    Args:
        path: The file; its ending says which it is.
        columns: Those to read; by default all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or declares or holds more than the file or the memory can.
        MissingExtraError: pyarrow is not installed.
    """
    require_extra("formats", "pyarrow")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return _parquet(path, columns) if path.suffix == ".parquet" else _arrow(path)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _parquet(path: Path, columns: list[str] | None) -> Table:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    size = path.stat().st_size
    limits = {
        "thrift_string_size_limit": _METADATA_BYTES,
        "thrift_container_size_limit": 10**6,
        "page_checksum_verification": True,
    }
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False, **limits) as file:
        metadata = file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        check_declared(path, sum(group.total_byte_size for group in groups), size=size)
        names = file.schema_arrow.names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; there is {', '.join(names)}")
        width = sum(_width(field.type) for field in file.schema_arrow)
        check_declared(path, metadata.num_rows * width, size=size)
        batches, total, rows = [], 0, 0
        for batch in file.iter_batches(batch_size=_PIECE, columns=columns, use_threads=False):
            total, rows = total + batch.nbytes, rows + batch.num_rows
            check_declared(path, total, size=size)
            batches.append(batch)
            if rows > metadata.num_rows:
                break
        if rows != metadata.num_rows:
            raise ValueError(
                f"{path}: declares {metadata.num_rows} rows and holds {rows} or more: it is damaged"
            )
        schema = batches[0].schema if batches else file.schema_arrow
        return Table(path, pa.Table.from_batches(batches, schema))


def _width(kind: Any) -> int:
    """Bytes that a value of a type takes at least."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * _width(kind.value_type)
    return kind.bit_width // 8 if pa.types.is_primitive(kind) else 0


def _arrow(path: Path) -> Table:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]

    size = path.stat().st_size
    with pa.memory_map(str(path)) as stream:
        reader = pa.ipc.open_file(stream)
        batches, total = [], 0
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            batch.validate(full=True)
            total += batch.nbytes
            check_declared(path, total, size=size)
            batches.append(batch)
        return Table(path, pa.Table.from_batches(batches, reader.schema))


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: it cannot be read as {path.suffix.removeprefix('.')} ({error}): it is damaged or "
        "cut short, fetch or write it again"
    )
