"""Tables on disk: Parquet, written clip by clip and read clip by clip."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vadlib.errors import VadError
from vadlib.io.files import harm_of_table, missing, unreadable, written_aside


def write_table(path: Path, parts: Iterable[pd.DataFrame], metadata: Mapping[str, str] | None = None) -> int:
    """Write tables of the same columns one after the other, a row group for each, and return the number of rows.

    `metadata` goes into the file's schema: `pyarrow.parquet.read_schema(path).metadata`.
    """
    rows = 0
    with written_aside(path) as aside:
        writer = None
        try:
            for part in parts:
                table = _typed(pa.Table.from_pandas(part, preserve_index=False))
                table = table.replace_schema_metadata(metadata or None)
                writer = writer or pq.ParquetWriter(aside, table.schema, compression="zstd")
                writer.write_table(table)
                rows += len(part)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ValueError("no tables to write")
    return rows


def _typed(table: pa.Table) -> pa.Table:
    """The table with every text column of one type: pandas 2 and 3 differ in it, and an empty one has none in 2."""
    text = (pa.null(), pa.string())
    return table.cast(pa.schema([f.with_type(pa.large_string()) if f.type in text else f for f in table.schema]))


def read_metadata(path: Path, made_by: str) -> dict[str, str]:
    """The metadata that `write_table` was given. Raises VadError as `read_table` does."""
    with _looked_through(path, made_by):
        metadata = pq.read_schema(path).metadata or {}
        return {name.decode(): value.decode() for name, value in metadata.items()}


def read_parts(path: Path) -> Iterator[pd.DataFrame]:
    """Yield the parts that `write_table` was given, one at a time."""
    with pq.ParquetFile(path) as file:
        for part in range(file.num_row_groups):
            yield file.read_row_group(part).to_pandas()


def read_table(path: Path, made_by: str, **equal: str | float) -> pd.DataFrame:
    """The rows whose columns have the given values, such as `split="testing", clip="01"`. Only the row groups that
    can hold them are read. Raises VadError where the file is absent or damaged."""
    with _looked_through(path, made_by):
        return pd.read_parquet(path, filters=[(column, "==", value) for column, value in equal.items()] or None)


@contextlib.contextmanager
def _looked_through(path: Path, made_by: str) -> Iterator[None]:
    """Of a damaged table Arrow may wait for ever, or fill the memory."""
    try:
        if (reason := harm_of_table(path)) is not None:
            raise VadError(f"{path}: not a whole table ({reason}); make it again with {made_by}")
        yield
    except FileNotFoundError:
        raise missing(path, made_by) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, error, made_by, "not a whole table") from None


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a small table for git and `dvc plots`: six significant digits, so that a difference means something."""
    with written_aside(path) as aside:
        table.to_csv(aside, index=False, float_format="%.6g", lineterminator="\n")
