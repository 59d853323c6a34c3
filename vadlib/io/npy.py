"""Arrays from .npy files that are not to be trusted: nothing in them is ever run, and no size is believed.

The published boxes of VEC, and some label packs, are object arrays: one array for each frame or clip. NumPy
stores those as a pickle, and unpickling lets the file call any function it names. So the pickle is not given
to `pickle` at all. Its opcodes are read by `pickletools` and those that plain arrays of numbers need are
carried out here, on plain data. The few functions that numpy's own pickles name become constants of `_Named`;
applying one builds an `_Array` or a `_Dtype` of this file, and nothing else can be applied.
"""

import itertools
import math
import pickletools
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import surroundings

MAX_BYTES = 1 << 29  # of a file; VEC's boxes of the 274,515 training frames of ShanghaiTech take some 80 MB
_MAX_DIMENSIONS = 8
_MOST_NUMBERS = 8  # of a box that is a list


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file of bools, integers or floats. Raises VadError for anything else, and for cut files."""
    with _opened(path) as file:
        shape, fortran, dtype = _header(file, path)
        if dtype.kind not in "biuf":
            raise VadError(f"{path}: expected an array of numbers, found dtype {dtype}")
        return _numbers(file.read(), dtype, shape, fortran, str(path))


def read_object_array(path: Path) -> list[np.ndarray]:
    """Read a .npy file that holds an array for each frame, or clip, without running anything it may carry.

    That is a 1-D object array of arrays, or of lists of boxes that are lists of numbers. Where all of them have one
    shape, numpy may have made one array of them when the file was saved, of numbers or of objects that are numbers: its
    first axis goes over the frames.

    Returns the arrays in order, read-only, as they were stored (any shape; bool, integer or float). Raises
    VadError naming the file, and the forbidden function where the pickle asks for one.
    """
    with _opened(path) as file:
        shape, fortran, dtype = _header(file, path)
        if dtype.kind in "biuf" and len(shape) > 1:
            return list(_numbers(file.read(), dtype, shape, fortran, str(path)))
        if dtype != np.dtype(object):
            raise VadError(
                f"{path}: expected an array for each frame, found dtype {dtype} of shape {shape}; save a list of arrays"
            )
        try:
            array = _run(file.read(), path)
        except VadError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, EOFError) as error:
            raise VadError(f"{path}: damaged, or not a pickled array ({_line(error)})") from None
    if not isinstance(array, _Array) or not isinstance(array.data, list) or array.shape != shape:
        raise VadError(f"{path}: damaged: its header and its content describe different arrays")
    if len(array.data) != math.prod(shape) or not shape:
        raise VadError(f"{path}: expected one array for each frame, found an object array of shape {shape}")
    if len(shape) > 1:
        if odd := {type(item) for item in array.data} - {bool, int, float}:
            kind = min(kind.__name__.strip("_").lower() for kind in odd)
            raise VadError(f"{path}: an object array of shape {shape} must hold numbers alone, found {kind}")
        try:
            numbers = np.array(array.data, np.float64)
        except OverflowError:
            raise VadError(f"{path}: holds a number that no float can") from None
        return list(numbers.reshape(shape))  # objects are listed in C's order, whatever order they lie in
    made: dict[int, np.ndarray] = {}  # once, however often a list is referred to
    for i, item in enumerate(array.data):
        if id(item) not in made:
            make = _of_lists if isinstance(item, list) else _element
            made[id(item)] = make(item, f"{path}: element {i}")
    return [made[id(item)] for item in array.data]


def is_object_array(path: Path) -> bool:
    """Whether a .npy file holds Python objects, by its header."""
    with _opened(path) as file:
        return _header(file, path)[2] == np.dtype(object)


# The .npy container


def _opened(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise VadError(f"{path}: {surroundings(error) or f'cannot be read: {error.strerror}'}") from None
    if (size := path.stat().st_size) > MAX_BYTES:
        file.close()
        raise VadError(f"{path}: {size:,} bytes; files of this kind are read up to {MAX_BYTES:,}")
    return file


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype, and the file left at the content. NumPy bounds the header's length."""
    try:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        return reader[version](file)
    except Exception as error:  # the header is a Python literal: parsing a hostile one fails in many ways
        raise VadError(f"{path}: not a .npy file ({_line(error)})") from None


def _numbers(data: bytes, dtype: np.dtype, shape: tuple[int, ...], fortran: bool, name: str) -> np.ndarray:
    """The array of this content. Sizes that do not go together are an error before anything is allocated."""
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise VadError(f"{name}: shape {shape} of {dtype} takes {expected:,} bytes, found {len(data):,}")
    try:
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:
        raise VadError(f"{name}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:120]}…"


# The pickle


class _Named(Enum):
    """All that a pickle may name. NumPy moved `core` to `_core` in 2.0."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    RECONSTRUCT_2 = "numpy._core.multiarray._reconstruct"
    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    # Python 3 writes bytes as these two where it is asked for protocol 2, as numpy did until 1.16.
    ENCODE = "_codecs.encode"
    BYTES = "__builtin__.bytes"


@dataclass
class _Dtype:
    """`numpy.dtype(code, …)` and the byte order given to it."""

    code: str
    order: str = "="


@dataclass
class _Array:
    """An array's state: `data` is a list of objects, or the bytes of numbers."""

    shape: tuple[int, ...] | None = None
    dtype: _Dtype | None = None
    fortran: bool = False
    data: list[Any] | bytes | None = None
    made: np.ndarray | None = None  # once, however many elements of a list refer to it


_PUSH = {
    "BININT", "BINFLOAT", "BININT1", "BININT2", "LONG1", "NONE", "NEWTRUE", "NEWFALSE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def _run(pickled: bytes, path: Path) -> Any:
    """Carry out a pickle's opcodes and return what it leaves. Memory stays in proportion to its size."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    encoded = 0

    def pop(count: int) -> list[Any]:
        if len(stack) < count:
            raise ValueError("takes from an empty stack")
        taken = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return taken

    def pop_to_mark() -> list[Any]:
        items = list(itertools.takewhile(lambda item: item is not _MARK, reversed(stack)))
        pop(len(items) + 1)
        return items[::-1]

    for opcode, given, _ in pickletools.genops(pickled):
        name, argument = opcode.name, cast(Any, given)
        if name in _PUSH:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            stack.append(tuple(pop(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS"):
            items = pop(1) if name == "APPEND" else pop_to_mark()
            if not isinstance(stack[-1], list):
                raise ValueError("appends to what is no list")
            stack[-1].extend(items)
        elif name == "GLOBAL":
            stack.append(_named(argument.replace(" ", ".", 1), path))
        elif name == "STACK_GLOBAL":
            module, attribute = pop(2)
            if not isinstance(module, str) or not isinstance(attribute, str):
                raise ValueError("a name that is no text")
            stack.append(_named(f"{module}.{attribute}", path))
        elif name == "REDUCE":
            stack.append(made := _applied(*pop(2)))
            # Protocol 2 makes bytes of text here: one text made into bytes again and again could fill memory.
            if isinstance(made, bytes) and (encoded := encoded + len(made)) > len(pickled):
                raise ValueError("more bytes than the file has")
        elif name == "BUILD":
            _set_state(stack[-2], pop(1)[0])
        elif name == "STOP":
            return pop(1)[0]
        elif name not in ("PROTO", "FRAME"):
            raise VadError(f"{path}: refused: its pickle uses {name}, which arrays of numbers never need")
    raise ValueError("no end")


def _named(name: str, path: Path) -> _Named:
    try:
        return _Named(name)
    except ValueError:
        raise VadError(
            f"{path}: refused: its pickle asks for {name!a:.100}, which arrays of numbers never need; "
            "do not load this file with numpy either"
        ) from None


def _applied(function: Any, arguments: Any) -> Any:
    """What a function of `_Named` makes of its arguments."""
    if function in (_Named.RECONSTRUCT, _Named.RECONSTRUCT_2) and arguments[0] is _Named.NDARRAY:
        return _Array()
    if function is _Named.DTYPE and isinstance(arguments[0], str):
        return _Dtype(arguments[0])
    if function is _Named.ENCODE and arguments[1] == "latin1":
        return arguments[0].encode("latin1")
    if function is _Named.BYTES and arguments == ():
        return b""
    raise ValueError("applies a function in a way numpy's pickles never do")


def _set_state(target: Any, state: Any) -> None:
    """Fill in an array or a dtype, in the order of their `__reduce__`; structured dtypes are not taken."""
    if isinstance(target, _Dtype) and state[1] in ("<", ">", "|", "=") and state[2:5] == (None, None, None):
        target.order = state[1]
        return
    if not isinstance(target, _Array):
        raise ValueError("sets the state of what is neither array nor dtype")
    _, shape, dtype, fortran, data = state
    sizes = isinstance(shape, tuple) and len(shape) <= _MAX_DIMENSIONS and all(type(n) is int for n in shape)
    if not (sizes and all(n >= 0 for n in shape) and isinstance(dtype, _Dtype) and isinstance(data, list | bytes)):
        raise ValueError("an array with an impossible state")
    target.shape, target.dtype, target.fortran, target.data = shape, dtype, bool(fortran), data


def _of_lists(item: list[Any], name: str) -> np.ndarray:
    """Boxes that are lists. Long ones are refused: a list that is referred to often says more than the file holds."""
    few = all(isinstance(row, list | tuple) and len(row) <= _MOST_NUMBERS for row in item)
    if not few or any(type(number) not in (int, float) for row in item for number in row):
        raise VadError(f"{name}: expected an array of numbers, found a list of others than boxes of numbers")
    try:
        return np.array(item, np.float64).reshape(len(item), -1 if item else 4)
    except (ValueError, OverflowError) as error:  # boxes of several lengths; a number that no float can be
        raise VadError(f"{name}: {_line(error)}") from None


def _element(item: Any, name: str) -> np.ndarray:
    if not isinstance(item, _Array) or item.dtype is None or item.shape is None:
        raise VadError(f"{name}: expected an array of numbers, found {type(item).__name__.strip('_').lower()}")
    if not isinstance(item.data, bytes) or not re.fullmatch(r"f[248]|[iu][1248]|b1", item.dtype.code):
        raise VadError(f"{name}: expected an array of numbers, found dtype {item.dtype.code!a:.40}")
    if item.made is None:
        dtype = np.dtype(item.dtype.code).newbyteorder(cast(Any, item.dtype.order))
        item.made = _numbers(item.data, dtype, item.shape, item.fortran, name)
    return item.made
