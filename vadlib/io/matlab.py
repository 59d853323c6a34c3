"""Cell arrays from MATLAB files: versions 5 to 7 read here, since SciPy crashes at damaged ones; 7.3, which is HDF5, by
h5py. Neither runs anything."""

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import harm_of_hdf5, surroundings

MAX_BYTES = 1 << 28  # of a cell: a mask of 16,384 x 16,384 px


def read_cells(path: Path, variable: str) -> Iterator[np.ndarray]:
    """Yield the numeric arrays of a cell array, in MATLAB's order. Raises VadError where there is none."""
    try:
        with path.open("rb") as file:
            hdf5 = file.read(10) in (b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n\0\0")
    except OSError as error:
        raise VadError(f"{path}: {surroundings(error) or f'cannot be read: {error.strerror}'}") from None
    cells: Iterator[np.ndarray | None] = _cells_of_hdf5(path, variable) if hdf5 else _cells_of_version_5(path, variable)
    try:
        for cell in cells:
            if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "biuf":
                raise VadError(f"{path}: `{variable}` holds something other than arrays of numbers")
            yield cell
    except VadError:
        raise
    except Exception as error:  # both libraries raise errors of many kinds on damaged files
        if (cause := surroundings(error)) is not None:
            raise VadError(f"{path}: {cause}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VadError(f"{path}: cannot be read as a MATLAB file with a cell array `{variable}` ({reason})") from None


# Version 5: elements of a type, a length and as many bytes. A variable is one, maybe compressed, and holds others.


_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED, _CELL, _COMPLEX = 14, 15, 1, 0x800
_MAX_CELLS = 1 << 22

_Read = Callable[[int], bytes]


def _cells_of_version_5(path: Path, variable: str) -> Iterator[np.ndarray | None]:
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(128)[126:])
        if order is None:
            raise ValueError("neither of version 5 to 7 nor of 7.3")
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = file.tell() + length
            read: _Read = file.read
            if kind == _COMPRESSED:
                read = _inflating(file, length)
                kind, _ = struct.unpack(f"{order}II", read(8))
            if kind == _MATRIX:
                matrix = _Matrix(read, order)
                if matrix.kind == _CELL and matrix.name == variable:
                    yield from matrix.cells()
                    return
            file.seek(end)
    raise VadError(f"{path}: no cell array `{variable}`")


def _inflating(file: BinaryIO, length: int) -> _Read:
    """Reads what so many bytes were before they were compressed, no more of it at a time than is asked for."""
    inflate = zlib.decompressobj()

    def read(wanted: int) -> bytes:
        nonlocal length
        content = bytearray()
        while len(content) < wanted:
            packed = inflate.unconsumed_tail
            if not packed:
                packed = file.read(min(length, 1 << 16))
                length -= len(packed)
            more = inflate.decompress(packed, wanted - len(content))
            if not more and not packed:
                break
            content += more
        return bytes(content)

    return read


class _Matrix:
    """An array: its class, its shape, its name, and then what it holds."""

    def __init__(self, read: _Read, order: str) -> None:
        self._read, self._order = read, order
        self._flags = int(self._values("u4")[0])
        self.shape = tuple(int(n) for n in self._values("i4"))
        self.name = bytes(self._next()[1]).decode("latin1")
        size = int(_CLASSES.get(self.kind, "u1")[1])
        if len(self.shape) < 2 or min(self.shape) < 0 or math.prod(self.shape) * size > MAX_BYTES:
            raise ValueError(f"an array of shape {self.shape}; those of labels are read up to {MAX_BYTES:,} bytes")

    @property
    def kind(self) -> int:
        return self._flags & 0xFF

    def cells(self) -> Iterator[np.ndarray | None]:
        """The arrays of a cell array, as they are asked for; None for one that is not of numbers."""
        count = math.prod(self.shape)
        if count > _MAX_CELLS:
            raise ValueError(f"{count:,} cells")
        for _ in range(count):
            kind, content = self._next()
            if kind != _MATRIX:
                raise ValueError("a cell that is no array")
            yield _Matrix(io.BytesIO(content).read, self._order)._numbers() if content else np.zeros((0, 0))

    def _numbers(self) -> np.ndarray | None:
        """Values, which are stored as the smallest type that holds them; None where they are none, or are complex."""
        if self.kind not in _CLASSES or self._flags & _COMPLEX:
            return None
        values = self._values()
        if len(values) != math.prod(self.shape):
            raise ValueError(f"{len(values)} values for an array of shape {self.shape}")
        return values.astype(_CLASSES[self.kind]).reshape(self.shape, order="F")

    def _values(self, expected: str = "") -> np.ndarray:
        kind, content = self._next()
        if (code := _NUMBERS.get(kind)) is None or (expected and code != expected):
            raise ValueError(f"a part of type {kind} where numbers belong")
        return np.frombuffer(content, self._order + code)

    def _next(self) -> tuple[int, bytes]:
        """Type and bytes of the next element."""
        tag = self._read(8)
        if len(tag) < 8:
            raise ValueError("a part is missing")
        kind, length = struct.unpack(f"{self._order}II", tag)
        if short := kind >> 16:  # four bytes at most, which stand where the length is
            return kind & 0xFFFF, tag[4 : 4 + min(short, 4)]
        if length > MAX_BYTES:
            raise ValueError(f"a part of {length:,} bytes; those of labels are read up to {MAX_BYTES:,}")
        content = self._read(length)
        if len(content) < length:
            raise ValueError("a part is cut")
        self._read(-length % 8)
        return kind, content


def _cells_of_hdf5(path: Path, variable: str) -> Iterator[np.ndarray]:
    import h5py

    if (reason := harm_of_hdf5(path, ours=False)) is not None:
        raise ValueError(reason)
    with h5py.File(path, "r", locking=False) as file:
        if not isinstance(file.get(variable, getlink=True), h5py.HardLink):  # others lead to other files
            raise VadError(f"{path}: no cell array `{variable}`")
        if not isinstance(file[variable], h5py.Dataset) or file[variable].dtype != h5py.ref_dtype:
            raise VadError(f"{path}: no cell array `{variable}`")
        for reference in _whole(file[variable]).ravel():
            cell = file[reference]
            # MATLAB writes axes in the reverse order; an empty array as its shape, with a mark.
            yield np.zeros((0, 0)) if "MATLAB_empty" in cell.attrs else _whole(cell).T


def _whole(array: Any) -> np.ndarray:
    """A data set of an HDF5 file, which may claim any size, and that its bytes lie in any other file."""
    if array.external or array.is_virtual:
        raise ValueError("its content lies in another file")
    if array.nbytes > MAX_BYTES:
        raise ValueError(f"an array of {array.nbytes:,} bytes; those of labels are read up to {MAX_BYTES:,}")
    return array[()]
