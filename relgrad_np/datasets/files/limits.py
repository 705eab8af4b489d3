"""What a file may ask for, and the line that says what is wrong with one that is damaged."""

import struct
import tokenize
import zipfile
import zlib

FREE = 64 * 2**20  # bytes that a compressed file may unpack to, however small it is
RATIO = 100  # times its own size that a larger one may unpack to; MNIST's has 5
HEADER_LIMIT = 10_000  # bytes of the header of a .npy
BROKEN = (  # what NumPy and zipfile raise when a file is not what it says it is
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def most_unpacked(size: int, limit: int | None) -> int:
    """Return the bytes that a compressed file of this size may unpack to; `limit` if it is given.

    >>> most_unpacked(1000, None) == FREE, most_unpacked(2**20, None) == 100 * 2**20
    (True, True)
    """
    return max(FREE, RATIO * size) if limit is None else limit


def require_modest(
    name: str, declared: int, size: int, limit: int | None, way_out: str = ""
) -> None:
    """Refuse, before it is unpacked, what says that it unpacks to more than is allowed.

    `size`: bytes of the file; `way_out`: what else can be done.

    >>> require_modest("it", 10**9, 1000, None)
    Traceback (most recent call last):
    ValueError: it unpacks to 1000000000 bytes, more than 67108864: give more as `limit`
    """
    most = most_unpacked(size, limit)
    if declared > most:
        raise ValueError(
            f"{name} unpacks to {declared} bytes, more than {most}: give more as `limit`{way_out}"
        )


def one_line(error: BaseException) -> str:
    r"""Return what an error says, in one line of at most 200 characters; its type if it is silent.

    >>> one_line(ValueError("two\nlines")), one_line(MemoryError())
    ('two lines', 'MemoryError')
    """
    return " ".join(str(error).split())[:200] or type(error).__name__
