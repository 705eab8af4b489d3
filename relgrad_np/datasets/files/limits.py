"""What a file may ask for, and the line that says what is wrong with one that is damaged."""

import struct
import tokenize
import zipfile
import zlib

ARRAY_LIMIT = 16 * 2**30  # bytes that one array of a compressed file may unpack to
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


def one_line(error: BaseException) -> str:
    r"""Return what an error says, in one line of at most 200 characters; its type if it is silent.

    >>> one_line(ValueError("two\nlines")), one_line(MemoryError())
    ('two lines', 'MemoryError')
    """
    return " ".join(str(error).split())[:200] or type(error).__name__
