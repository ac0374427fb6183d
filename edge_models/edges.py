"""What a graph's file says that it takes and gives, read without building the graph.

Rules it upholds: a few hundred bytes are looked at, the weights never; whatever the bytes are, the
answer is `Edges` or one `BundleError`; a file that could be read in two ways (a field twice, a
second subgraph) is refused, so that no runtime can see other edges than these.

Place in the life of a bundle: verified files → **edges** → contracts → graphs.
Source: `onnx.proto` (ModelProto, GraphProto, ValueInfoProto) in the protocol buffers wire format;
TensorFlow Lite's `schema.fbs`, version 3, in the FlatBuffers binary format.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from edge_models.errors import BundleError

MOST_EDGES: Final = 16
_MOST_AXES: Final = 8
_LONGEST_NAME: Final = 128

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_ONNX_TYPES: Final = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool",
                      10: "float16", 11: "float64"}  # fmt: skip
_TFLITE_TYPES: Final = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool",
                        7: "int16", 9: "int8", 10: "float64"}  # fmt: skip

Field = tuple[int, int, int | memoryview]


class _Unreadable(Exception):
    """The bytes are no graph of this kind."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One input or output: `shape` has None where an axis may have any length.

    `steps` counts the quantisation steps that are stored with it: 0 for plain numbers.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    steps: int = 0

    def __str__(self) -> str:
        axes = ", ".join("any" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name!a} {self.dtype} ({axes})"


@dataclass(frozen=True, slots=True)
class Edges:
    """All inputs and outputs of a graph, in its own order."""

    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]


def edges_of(file: str, raw: bytes) -> Edges:
    """The edges of a bundle's graph; the ending of its name says of which kind it is.

    Raises:
        BundleError: the bytes are no such graph.
    """
    read: Callable[[bytes], Edges] = _tflite_edges if file.endswith(".tflite") else _onnx_edges
    try:
        return read(raw)
    except (_Unreadable, struct.error, IndexError, UnicodeDecodeError) as fault:
        kind = "TFLite" if read is _tflite_edges else "ONNX"
        raise BundleError(
            f"The bundle's graph '{file}' is damaged: it can't be read as {kind}.",
            "Install the bundle again.",
        ) from fault


# Protocol buffers.


def _onnx_edges(raw: bytes) -> Edges:
    graph = _message(_only(_fields(memoryview(raw)), 7))
    found: dict[int, list[Edge]] = {11: [], 12: []}
    for number, wire, value in _fields(graph):
        if number in found:
            if wire != _LENGTH or len(found[number]) == MOST_EDGES:
                raise _Unreadable
            found[number].append(_onnx_edge(_message(value)))
    return Edges(tuple(found[11]), tuple(found[12]))


def _onnx_edge(info: memoryview) -> Edge:
    name = bytes(_message(_only(_fields(info), 1))).decode()
    tensor = _message(_only(_fields(_message(_only(_fields(info), 2))), 1))
    kind = _only(_fields(tensor), 1)
    shape = _message(_only(_fields(tensor), 2))
    axes = [_axis(_message(value)) for number, _, value in _fields(shape) if number == 1]
    if len(axes) > _MOST_AXES or len(name) > _LONGEST_NAME or not isinstance(kind, int):
        raise _Unreadable
    return Edge(name, _ONNX_TYPES.get(kind, f"type {kind}"), tuple(axes))


def _axis(dimension: memoryview) -> int | None:
    said = [value for number, _, value in _fields(dimension) if number == 1]
    if not said:
        return None
    if len(said) > 1 or not isinstance(said[0], int):
        raise _Unreadable
    return said[0]


def _only(fields: Iterator[Field], wanted: int) -> int | memoryview:
    """The value of a field that is there exactly once."""
    values = [value for number, _, value in fields if number == wanted]
    if len(values) != 1:
        raise _Unreadable
    return values[0]


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Unreadable
    return value


def _fields(raw: memoryview) -> Iterator[Field]:
    """Number, wire type and value of each field, what is long unread."""
    at, end = 0, len(raw)
    while at < end:
        key, at = _varint(raw, at)
        number, wire = key >> 3, key & 7
        value: int | memoryview
        if wire == _VARINT:
            value, at = _varint(raw, at)
        elif wire in (_LENGTH, _EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if wire == _EIGHT_BYTES else 4
            if wire == _LENGTH:
                length, at = _varint(raw, at)
            value, at = raw[at : at + length], at + length
            if at > end:
                raise _Unreadable
        else:
            raise _Unreadable
        yield number, wire, value


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = raw[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for place in range(1, 10):
        byte = raw[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _Unreadable


# FlatBuffers.


def _tflite_edges(raw: bytes) -> Edges:
    if raw[4:8] != b"TFL3":
        raise _Unreadable
    subgraphs = _vector(raw, _field(raw, _follow(raw, 0), 2))
    if len(subgraphs) != 1:
        raise _Unreadable
    graph = _follow(raw, subgraphs[0])
    tensors = _vector(raw, _field(raw, graph, 0))

    def along(slot: int) -> tuple[Edge, ...]:
        places = _integers(raw, _field(raw, graph, slot), MOST_EDGES)
        if any(not 0 <= place < len(tensors) for place in places):
            raise _Unreadable
        return tuple(_tflite_edge(raw, _follow(raw, tensors[place])) for place in places)

    return Edges(along(1), along(2))


def _tflite_edge(raw: bytes, tensor: int) -> Edge:
    shape = _integers(raw, _field(raw, tensor, 0), _MOST_AXES)
    stated = _integers(raw, _field(raw, tensor, 7), _MOST_AXES) or shape
    if len(stated) != len(shape):
        raise _Unreadable
    at = _field(raw, tensor, 1)
    kind = struct.unpack_from("<b", raw, at)[0] if at else 0
    at = _field(raw, tensor, 3)
    name = _bytes(raw, at, _LONGEST_NAME).decode()
    quantisation = _field(raw, tensor, 4)
    scales = _field(raw, _follow(raw, quantisation), 2) if quantisation else 0
    steps = struct.unpack_from("<I", raw, _follow(raw, scales))[0] if scales else 0
    axes = (None if open_ < 0 else size for size, open_ in zip(shape, stated, strict=True))
    return Edge(name, _TFLITE_TYPES.get(kind, f"type {kind}"), tuple(axes), steps)


def _field(raw: bytes, table: int, slot: int) -> int:
    """Where a table's field lies; 0 where the table leaves it out."""
    vtable = table - struct.unpack_from("<i", raw, table)[0]
    if vtable < 0:
        raise _Unreadable
    (size,) = struct.unpack_from("<H", raw, vtable)
    entry = 4 + 2 * slot
    if entry + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", raw, vtable + entry)
    return table + offset if offset else 0


def _follow(raw: bytes, at: int) -> int:
    return int(at + struct.unpack_from("<I", raw, at)[0])


def _vector(raw: bytes, at: int, most: int = 4_096) -> range:
    """Where the four-byte entries of a vector lie."""
    if not at:
        return range(0)
    start = _follow(raw, at)
    (count,) = struct.unpack_from("<I", raw, start)
    if count > most or start + 4 + 4 * count > len(raw):
        raise _Unreadable
    return range(start + 4, start + 4 + 4 * count, 4)


def _integers(raw: bytes, at: int, most: int) -> tuple[int, ...]:
    return tuple(struct.unpack_from("<i", raw, entry)[0] for entry in _vector(raw, at, most))


def _bytes(raw: bytes, at: int, most: int) -> bytes:
    if not at:
        return b""
    start = _follow(raw, at)
    (count,) = struct.unpack_from("<I", raw, start)
    if count > most or start + 4 + count > len(raw):
        raise _Unreadable
    return raw[start + 4 : start + 4 + count]
