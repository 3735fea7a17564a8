"""Reads pickles without running any code that they ask for.

A pickle names classes and functions and has them called. Here only those that build tensors and
arrays are real, with their arguments checked; whatever else a file names becomes an `Inert`. The
interpreter is the standard library's in Python, whose tables grow with what is stored in them; that
in C makes room for as many remembered objects as nine bytes ask for.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import re
import sys
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CORES = ("numpy.core", "numpy._core")
_DTYPE = re.compile(r"[<>=|]?(?:\?|[biufc](?:[1248]|16)|bool)")
# What a tensor or array may claim beyond the memory that the file has for it: layers that are all
# one value are written as one value by some, but a few bytes must not stand for gigabytes.
_CLAIM = 1 << 28
_OPCODES_REFUSED = (
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.INST,
    pickle.OBJ,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)


class Inert:
    """Stands for an object, class or function of a file that is of no use here, and does nothing.

    Attributes:
        name: what the file calls it.
        state: its attributes, where the file has them by name.
        entries: its entries, where it is a mapping.
    """

    def __init__(self, name: str) -> None:
        # By its second name torch knows a class, of which old files have the source.
        self.name = self.__name__ = name
        self.state: dict[object, object] = {}
        self.entries: dict[object, object] = {}

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def append(self, _value: object) -> None:
        """Take an element of a list, a set or a queue."""

    extend = add = update = append


class _Dtype:
    """A NumPy type that the file may still give a byte order."""

    def __init__(self, code: str) -> None:
        self.value = np.dtype(code)


class _Array:
    """An array whose shape, type and content are still to come."""

    def __init__(self) -> None:
        self.value = np.zeros(0)


def array(value: object) -> np.ndarray[Any, Any] | None:
    """Return the array that an unpickled object is; None where it is none."""
    return value.value if isinstance(value, _Array) else None


_Interpreter: Any = pickle._Unpickler  # noqa: SLF001 - see above


class Unpickler(_Interpreter):  # type: ignore[misc]
    """Rebuilds containers, tensors and arrays; all else is `Inert`."""

    dispatch = {  # noqa: RUF012 - as inherited
        code: handle
        for code, handle in _Interpreter.dispatch.items()
        if code not in {refused[0] for refused in _OPCODES_REFUSED}
    }

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for a global of the file."""
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ("torch.storage", "UntypedStorage"):
            # For torch to recognise; a file cannot call it, because it is not among the known.
            return torch.UntypedStorage
        return _KNOWN.get((module, name)) or Inert(f"{module}.{name}")

    def _call(self, function: object, arguments: tuple[object, ...]) -> object:
        if isinstance(function, Inert):
            return Inert(function.name)
        if function is OrderedDict:
            return OrderedDict(*arguments)
        if not any(function is known for known in _KNOWN.values()):
            raise pickle.UnpicklingError(f"a call of {type(function).__name__}")
        return function(*arguments)  # type: ignore[operator]

    def load_reduce(self) -> None:
        """Call a function that is known."""
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        """Make an object of a class that is known."""
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        """Make an object of a class that is known, without its keywords."""
        self.stack.pop()
        self.load_reduce()

    def load_build(self) -> None:
        """Give an object its state."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Inert):
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                if isinstance(part, dict):
                    target.state.update(part)
        elif isinstance(target, _Dtype) and isinstance(state, tuple):
            if state[1:2] and state[1] in ("<", ">", "=", "|"):
                target.value = target.value.newbyteorder(state[1])
        elif isinstance(target, _Array) and isinstance(state, tuple):
            _, shape, dtype, fortran, content = state
            target.value = _filled(content, dtype, shape, "F" if fortran else "C")
        # The attributes of a tensor or dictionary are of no use.

    def load_bytearray8(self) -> None:
        """Read bytes, no more than there are, instead of making room for them first."""
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    for _code, _handle in (
        (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build),
    ):
        dispatch[_code[0]] = _handle


def load(file: io.BufferedIOBase, **options: Any) -> object:  # noqa: ANN401 - `pickle.load`'s
    """Read the next pickle of a file, as `pickle.load` does."""
    return Unpickler(file, **options).load()


def load_torch(path: Path) -> object:
    """Read a file that ``torch.save`` wrote.

    Raises:
        Exception: whatever a damaged file leads to.
    """
    # In memory, because torch unpacks an old file into a folder where it has a descriptor.
    content = io.BytesIO(path.read_bytes())
    with warnings.catch_warnings():
        # It would compare the source of a module's class with that in an old file.
        warnings.filterwarnings("ignore", "Couldn't retrieve source code")
        return torch.load(
            content, map_location="cpu", weights_only=False, pickle_module=sys.modules[__name__]
        )


def load_pickle(path: Path) -> object:
    """Read a plain pickle.

    Raises:
        Exception: whatever a damaged file leads to.
    """
    # A map reads no more than there is, however much the file asks for.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return Unpickler(content, encoding="latin1").load()


def _rebuild_tensor(
    storage: Any,  # noqa: ANN401 - torch's own type
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    *_rest: object,
) -> torch.Tensor:
    return _view(storage, storage.dtype, offset, size, stride)


def _rebuild_newer_tensor(
    storage: Any,  # noqa: ANN401 - torch's own type
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    _requires_grad: object,
    _hooks: object,
    dtype: torch.dtype,
    *_rest: object,
) -> torch.Tensor:
    """Return a tensor of a type that has no storage of its own: float8, uint16 and the like."""
    return _view(storage, dtype, offset, size, stride)


def _view(
    storage: Any,  # noqa: ANN401 - torch's own type
    dtype: torch.dtype,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
) -> torch.Tensor:
    """Return a view of a storage, which PyTorch would enlarge where the view asks for more."""
    # Its public methods warn that they are deprecated, whoever calls them.
    memory: torch.UntypedStorage = storage._untyped_storage  # noqa: SLF001
    held, each = memory.nbytes(), dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    values = math.prod(size)
    if min(offset, *size, *stride, 0) < 0 or (values and (last + 1) * each > held):
        raise pickle.UnpicklingError(f"a tensor {tuple(size)} beyond its {held} bytes")
    if values * each > max(held, _CLAIM):
        raise pickle.UnpicklingError(f"a tensor {tuple(size)} of {held} bytes")
    return torch.empty(0, dtype=dtype).set_(memory, offset, size, stride)


def _rebuild_parameter(data: object, *_rest: object) -> object:
    return data


def _compiled(network: object = None, *_rest: object) -> object:
    """Return the module that torch.compile was given; older versions have it in the state."""
    return Inert("OptimizedModule") if network is None else network


def _rebuild_subclass(
    function: object, _kind: object, arguments: tuple[Any, ...], _state: object
) -> object:
    if function is not _rebuild_tensor:
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    return _rebuild_tensor(*arguments)


def _dtype(code: object, *_rest: object) -> _Dtype:
    text = code.decode("latin1") if isinstance(code, bytes) else code
    # Arrays of objects and of text are stored with weights, but hold none.
    known = isinstance(text, str) and _DTYPE.fullmatch(text)
    return _Dtype(str(text) if known else "u1")


def _filled(content: object, dtype: object, shape: Any, order: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Return an array of this many bytes; nothing where they are not that many."""
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, bytes) or not isinstance(dtype, _Dtype):
        return np.zeros(0)
    if math.prod(shape) * dtype.value.itemsize != len(content):
        return np.zeros(0)
    return np.frombuffer(content, dtype.value).reshape(shape, order=order)


def _from_buffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    made = _Array()
    made.value = _filled(content, dtype, shape, order)
    return made


def _new_array(*_arguments: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_newer_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_subclass,
    ("torch._dynamo.eval_frame", "OptimizedModule"): _compiled,
    ("numpy", "dtype"): _dtype,
    # How pickles of Python 2 and of protocols below 3 spell bytes.
    ("_codecs", "encode"): _encode,
    **{(f"{core}.multiarray", "_reconstruct"): _new_array for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
}
