"""What .parquet, .feather and .mat files say, or show, that they unpack to; nothing is kept of it.

A column of zeros of any length takes a few bytes in such a file. So the size of each page or buffer
is read where the reader of the format will find it, before the reader is begun.
"""

import struct
import zlib
from typing import Any, BinaryIO

STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
PAGE_HEADER = 2**20  # bytes of a page's header, at most
DEEPEST = 16  # structures within structures
DICTIONARY, BATCH = 2, 3  # messages of Arrow's format that have buffers
PACKED = 15  # a packed variable of a .mat file
UNSOUND = (IndexError, OverflowError, struct.error, zlib.error)


def parquet_unpacked(file: BinaryIO, about: Any, columns: set[str]) -> int:
    """Return the bytes that the pages of these columns declare; `about` is the file's metadata.

    ValueError for pages that do not follow one another.
    """
    total = 0
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        for j in range(group.num_columns):
            chunk = group.column(j)
            if chunk.path_in_schema not in columns:
                continue
            begin, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset or 0
            begin = dictionary if 0 < dictionary < begin else begin
            total += _pages(file, begin, begin + chunk.total_compressed_size)
    return total


def _pages(file: BinaryIO, at: int, end: int) -> int:
    total = 0
    while 0 <= at < end:
        unpacked, packed, length = _page_at(file, at)
        if min(unpacked, packed) < 0:
            raise ValueError(f"a page has {packed} bytes, and unpacks to {unpacked}")
        total, at = total + unpacked, at + length + packed
    return total


def _page_at(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """Return a page's size unpacked, its size in the file, and the length of its header."""
    for most in (2**12, PAGE_HEADER):
        file.seek(at)
        data = file.read(most)
        try:
            fields, length = _Thrift(data).numbers()
            return fields[2], fields[3], length
        except KeyError:
            break
        except IndexError:
            if len(data) < most:
                break
    raise ValueError(f"there is no header of a page at byte {at}")


class _Thrift:
    """The compact protocol of Thrift, as far as a page's header needs it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, depth: int = 0) -> tuple[dict[int, int], int]:
        """Return the whole numbers among the fields of a structure, and where it ends."""
        found: dict[int, int] = {}
        field = 0
        while (head := self._byte()) != STOP:
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else self._number()
            value = self._value(kind, depth)
            if BYTE <= kind < DOUBLE:
                found[field] = value
        return found, self.at

    def _value(self, kind: int, depth: int) -> int:
        if depth > DEEPEST:
            raise KeyError("structures within structures")
        if kind in (TRUE, FALSE):
            return 0
        if kind == BYTE:
            return self._byte()
        if BYTE < kind < DOUBLE:
            return self._number()
        if kind in (DOUBLE, BINARY):
            length = 8 if kind == DOUBLE else self._varint()  # which moves on itself
            self.at += length
        elif kind in (LIST, SET):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            self._some(size, (head & 15,), depth)
        elif kind == MAP:
            size = self._varint()
            head = self._byte() if size else 0
            self._some(size, (head >> 4, head & 15), depth)
        elif kind == STRUCT:
            self.numbers(depth + 1)
        else:
            raise KeyError(kind)
        return 0

    def _some(self, size: int, kinds: tuple[int, ...], depth: int) -> None:
        if size > len(self.data):
            raise KeyError("more entries than bytes")
        for _ in range(size):
            for kind in kinds:  # in a list a truth takes a byte
                self._value(BYTE if kind in (TRUE, FALSE) else kind, depth + 1)

    def _byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def feather_unpacked(file: BinaryIO) -> tuple[int, int]:
    """Return the bytes and the rows that the messages of Arrow's format declare, from here on.

    ValueError for what is no such message.
    """
    total = rows = 0
    while len(start := file.read(8)) == 8:
        mark, length = struct.unpack("<Ii", start)
        if mark != 2**32 - 1 or length < 0:
            raise ValueError("it is of an old version of the format: write it again")
        if not length:
            break
        try:
            record = _Message(file.read(length))
            begin = file.tell()
            for place, size in record.buffers:
                size = _declared(file, begin + place, size) if record.packed else size
                total += max(size, 0)
        except UNSOUND:
            raise ValueError("it has a message that is not sound") from None
        if record.rows < 0 or record.body < 0:
            raise ValueError("it has a message of a negative size")
        rows += record.rows
        file.seek(begin + record.body)
    return total, rows


def _declared(file: BinaryIO, place: int, size: int) -> int:
    """Return the size of a packed buffer, which stands before it; -1 says that it is not packed."""
    if not size:
        return 0
    if place < 0:
        raise IndexError(place)
    file.seek(place)
    (unpacked,) = struct.unpack("<q", file.read(8))
    return size if unpacked == -1 else int(unpacked)


class _Message:
    """What a message of Arrow's format says of its body: rows, buffers, whether they are packed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        root = self._read("<I", 0)
        kind = self._field(root, 1, "<B")
        self.body, self.rows, self.packed = self._field(root, 3, "<q"), 0, False
        self.buffers: list[tuple[int, int]] = []
        record = self._table(root, 2)
        if kind == DICTIONARY and record:
            record = self._table(record, 1)
        if kind not in (DICTIONARY, BATCH) or not record:
            return
        self.rows = self._field(record, 0, "<q") if kind == BATCH else 0
        self.packed = bool(self._table(record, 3))
        if vector := self._table(record, 2):
            count = self._read("<I", vector)
            if 16 * count > len(data):
                raise IndexError(count)
            pairs = struct.unpack_from(f"<{2 * count}q", data, vector + 4)
            self.buffers = list(zip(pairs[::2], pairs[1::2], strict=True))

    def _read(self, form: str, at: int) -> int:
        if at < 0:
            raise IndexError(at)
        return int(struct.unpack_from(form, self.data, at)[0])

    def _place(self, table: int, i: int) -> int:
        """Return where the i-th field of a table is; 0 if it is left out."""
        fields = table - self._read("<i", table)
        if 4 + 2 * i >= self._read("<H", fields):
            return 0
        offset = self._read("<H", fields + 4 + 2 * i)
        return table + offset if offset else 0

    def _field(self, table: int, i: int, form: str) -> int:
        place = self._place(table, i)
        return self._read(form, place) if place else 0

    def _table(self, table: int, i: int) -> int:
        place = self._place(table, i)
        return place + self._read("<I", place) if place else 0


def mat_unpacked(file: BinaryIO, most: int) -> int:
    r"""Return the bytes of a .mat file's variables, unpacked; no further than `most` is counted.

    >>> import io
    >>> packed = zlib.compress(bytes(1000))
    >>> file = io.BytesIO(bytes(124) + b"\0\1IM" + struct.pack("<2I", 15, len(packed)) + packed)
    >>> mat_unpacked(file, 10**6), mat_unpacked(file, 100)
    (1000, 101)
    """
    file.seek(124)
    start = file.read(4)
    if start[2:] not in (b"IM", b"MI"):  # of the fourth version, which packs nothing
        return 0
    form, total = "<2I" if start[2:] == b"IM" else ">2I", 0
    while len(head := file.read(8)) == 8 and total <= most:
        kind, length = struct.unpack(form, head)
        if kind == PACKED:
            total += _inflated(file, length, most - total)
        else:
            total += length
            file.seek(length, 1)
    return total


def _inflated(file: BinaryIO, length: int, most: int) -> int:
    """Return to how many bytes the next `length` inflate; most + 1 if it is more than `most`."""
    end, total, one = file.tell() + length, 0, zlib.decompressobj()
    try:
        while length > 0 and not one.eof and (data := file.read(min(length, 2**16))):
            length -= len(data)
            while data and not one.eof:
                total += len(one.decompress(data, 2**20))
                data = one.unconsumed_tail
                if total > most:
                    return most + 1
    except zlib.error:
        pass  # its reader says what is wrong with it
    file.seek(end)
    return total
