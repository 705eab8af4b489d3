"""Arrays in files: every machine writes the same bytes, and what is read may be damaged.

Writing: an .npz is an uncompressed zip with fixed dates, a .npy header has version 1.0, and JSON
has hexadecimal floats (C's %a, Python's float.hex). Reading: the sizes that a file declares are
compared with the bytes that are there before memory is asked for. No pickle is opened. Every
failure is a ValueError of one line.

This reader shares no code with `datasets.files`: what judges the package may not rest on it. It
also parses bytes, not a path, so that a checksum is of exactly the bytes that are parsed.
"""

import io
import json
import math
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]
LIMIT = 1 << 28  # bytes of one file, and of all its arrays
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f([48])', 'fortran_order': False, "
    rb"'shape': \(([0-9, ]*)\), \} *\n",
    re.DOTALL,
)
MEMBERS = 10_000  # of one archive


def npy_bytes(x: Any) -> bytes:
    """Return an array as the bytes of a .npy file, version 1.0, little-endian, C order.

    >>> len(npy_bytes(np.zeros(3)))
    152
    """
    x = np.asarray(x)
    x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<")).reshape(x.shape)
    head = f"{{'descr': '{x.dtype.str}', 'fortran_order': False, 'shape': {x.shape!r}, }}"
    head = head.ljust(64 * math.ceil((10 + len(head) + 1) / 64) - 10 - 1) + "\n"
    return (
        b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(x.tobytes())
    )


def npz_bytes(arrays: Arrays) -> bytes:
    """Return arrays as the bytes of an uncompressed .npz with fixed dates.

    >>> npz_bytes({"x": np.zeros(3)}) == npz_bytes({"x": np.zeros(3)})
    True
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as file:
        for name, x in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            file.writestr(info, npy_bytes(x))
    return made.getvalue()


def hexadecimal(x: Any) -> dict[str, Any]:
    """Return an array as {"shape": ..., "data": flat list of hexadecimal floats}.

    >>> hexadecimal(np.array([[1.0, -0.5]]))
    {'shape': [1, 2], 'data': ['0x1.0000000000000p+0', '-0x1.0000000000000p-1']}
    """
    x = np.asarray(x)
    return {"shape": list(x.shape), "data": [float(v).hex() for v in x.reshape(-1)]}


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; ValueError if it is missing, not a plain file, or too large."""
    try:
        if not path.is_file():
            raise ValueError(f"there is no file {path.name!r} in {str(path.parent)!r}")
        if os.path.getsize(path) > LIMIT:
            raise ValueError(f"{path.name}: larger than {LIMIT >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror or error}") from None


def parse_json(raw: bytes, name: str) -> dict[str, Any]:
    """Return the object in a JSON text; ValueError that begins with `name`.

    >>> parse_json(b"[1, 2", "x.json")
    Traceback (most recent call last):
    ValueError: x.json is not valid JSON: Expecting ',' delimiter: line 1 column 6 (char 5)
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON object, got {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def parse_npy(raw: bytes, name: str) -> Any:
    """Return the float32 or float64 array in the bytes of a .npy file; ValueError with `name`.

    >>> parse_npy(npy_bytes(np.array([1.5])), "x")
    array([1.5])
    """
    ours = HEADER.match(raw)  # as NumPy and `npy_bytes` write it: no need for a parser
    if ours and ours.end() == 10 + int.from_bytes(raw[8:10], "little"):
        shape = tuple(int(size) for size in ours[2].replace(b",", b" ").split())
        if math.prod(shape) * int(ours[1]) == len(raw) - ours.end():
            flat = np.frombuffer(raw, f"<f{int(ours[1])}", offset=ours.end())
            return flat.astype(flat.dtype.newbyteorder("=")).reshape(shape)
    stream = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(stream)
        reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = reader(stream)
    except Exception as error:  # numpy and ast raise many kinds on damaged headers
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name}: not a .npy array: {reason[:120]}") from None
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise ValueError(f"{name} must be float32 or float64, got {dtype}")
    data = raw[stream.tell() :]
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name}: shape {shape} of {dtype} does not fit {len(data)} bytes")
    flat = np.frombuffer(data, dtype=dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")


def parse_npz(raw: bytes, name: str) -> Arrays:
    """Return the arrays in the bytes of an .npz file; ValueError that begins with `name`.

    >>> parse_npz(npz_bytes({"x": np.array([1.5])}), "file.npz")
    {'x': array([1.5])}
    """
    found: Arrays = {}
    if raw.count(b"PK\x01\x02") > MEMBERS:  # each of which costs memory before it is read
        raise ValueError(f"{name}: more than {MEMBERS} members")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            if sum(info.file_size for info in file.infolist()) > LIMIT:
                raise ValueError(f"{name}: its arrays are larger than {LIMIT >> 20} MiB")
            for info in file.infolist():
                key = info.filename.removesuffix(".npy")
                if key in found or key == info.filename:
                    raise ValueError(
                        f"{name}: unexpected or repeated member {info.filename[:60]!r}"
                    )
                with file.open(info) as member:
                    content = member.read(info.file_size + 1)
                found[key] = parse_npy(content, f"{name}: {key[:60]}")
    except ValueError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name}: damaged or truncated: {reason[:120]}") from None
    return found


def parse_hexadecimal(value: Any, name: str, dtype: str = "float64") -> Any:
    """Return the array of {"shape", "data"}; ValueError that begins with `name`.

    >>> parse_hexadecimal({"shape": [1], "data": ["0x1.8p+0"]}, "x")
    array([1.5])
    """
    if not isinstance(value, dict) or set(value) != {"shape", "data"}:
        raise ValueError(f"{name} must be an object with 'shape' and 'data'")
    shape, data = value["shape"], value["data"]
    sizes = isinstance(shape, list) and all(type(s) is int and 0 <= s <= LIMIT for s in shape)
    if not sizes or not isinstance(data, list) or math.prod(shape) != len(data):
        raise ValueError(f"{name}: 'shape' must be a list of sizes whose product is that of 'data'")
    try:
        numbers = [_hexadecimal(x) if isinstance(x, str) else _number(x) for x in data]
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"{name}: 'data' must hold hexadecimal floats such as '0x1.8p+1'"
        ) from None
    with np.errstate(over="ignore"):
        return np.array(numbers, dtype="float64").astype(dtype).reshape(shape)


def _hexadecimal(text: str) -> float:
    """Return the number; ValueError for decimals, which `fromhex` would take for hexadecimal."""
    if not re.fullmatch(r"[+-]?(0[xX].*|inf|infinity|nan)", text.strip(), re.IGNORECASE):
        raise ValueError
    return float.fromhex(text)


def _number(x: Any) -> float:
    if isinstance(x, bool) or not isinstance(x, (int, float)):
        raise TypeError
    return float(x)
