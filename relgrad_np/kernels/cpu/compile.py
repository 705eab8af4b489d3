"""What the kernels are compiled with: how they are inlined, bits of floats, a BLAS by its address.

Numba is imported in this folder only, and this folder is imported only when it is asked for.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

INLINE: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}}  # a * b + c may be one fma


# `inlined`: LLVM copies the function into its callers; for what is short, or called often.
# `inserted`: Numba copies it into its caller before it compiles that; for what is long and called
# once, which would else be compiled twice.
inlined = njit(error_model="numpy", forceinline=True, **INLINE)
inserted = njit(error_model="numpy", inline="always", **INLINE)
# `exact`: inlined, and rounded as Python and NumPy round, without fma. It has to say so: else it
# would inherit what its caller may do.
exact = njit(error_model="numpy", nogil=True, forceinline=True, fastmath=False)


@njit(fastmath={"reassoc", "nsz", "contract"}, nogil=True, forceinline=True)  # type: ignore[untyped-decorator]
def add(total: Any, x: Any) -> Any:
    """Add to a sum in any order, so that LLVM may sum in parallel lanes."""
    return total + x


@njit(fastmath={"reassoc", "nsz", "nnan"}, nogil=True, forceinline=True)  # type: ignore[untyped-decorator]
def largest(one: Any, other: Any) -> Any:
    """Return the larger of two, in parallel lanes as `add`; of NaN either may come back."""
    return one if one > other else other


def _width(x: Any) -> tuple[ir.IntType, ir.Type, int, int]:
    """Return the integer and float type of LLVM, mantissa bits and exponent bias of this type."""
    if x == types.float32:
        return ir.IntType(32), ir.FloatType(), 23, 127
    return ir.IntType(64), ir.DoubleType(), 52, 1023


@intrinsic  # type: ignore[untyped-decorator]
def powers_of_two(context: Any, shifted: Any) -> Any:
    """Return 2^(k >> 1) and 2^(k - (k >> 1)) for `shifted` = k + 1.5 2^mantissa, k an integer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer, real, mantissa, bias = _width(signature.args[0])
        magic = ir.Constant(real, 1.5 * 2.0**mantissa)
        k = builder.sub(builder.bitcast(args[0], integer), builder.bitcast(magic, integer))
        half = builder.ashr(k, ir.Constant(integer, 1))
        parts = []
        for part in (half, builder.sub(k, half)):
            bits = builder.shl(
                builder.add(part, ir.Constant(integer, bias)), ir.Constant(integer, mantissa)
            )
            parts.append(builder.bitcast(bits, real))
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(shifted, 2)(shifted), generate


@intrinsic  # type: ignore[untyped-decorator]
def split_exponent(context: Any, x: Any) -> Any:
    """Return f, k, 2^-k with x = f 2^k, sqrt(1/2) <= f < sqrt(2), for a normal x > 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer, real, mantissa, bias = _width(signature.args[0])
        root = 0x3F3504F3 if mantissa == 23 else 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)

        def constant(value: int) -> Any:
            return ir.Constant(integer, value)

        bits = builder.bitcast(args[0], integer)
        bits = builder.add(bits, constant((bias << mantissa) - root))
        k = builder.sub(builder.ashr(bits, constant(mantissa)), constant(bias))
        f = builder.add(builder.and_(bits, constant((1 << mantissa) - 1)), constant(root))
        scale = builder.shl(builder.sub(constant(bias), k), constant(mantissa))
        small = builder.trunc(k, ir.IntType(32)) if mantissa == 52 else k
        parts = [
            builder.bitcast(f, real),
            builder.sitofp(small, real),
            builder.bitcast(scale, real),
        ]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(x, 3)(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def fma(context: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x y + z, rounded once: fma(x, y, -(x y)) is what the product's rounding dropped."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return x(x, x, x), generate


@intrinsic  # type: ignore[untyped-decorator]
def _call_gemm(
    context: Any, blas: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any,
    A: Any, lda: Any, B: Any, ldb: Any, beta: Any, C: Any, ldc: Any,
) -> Any:  # fmt: skip
    """Call a Fortran ?gemm at this address; scalars by reference, matrices by address."""
    real, integer = alpha, types.intp
    signature = types.void(
        integer, types.int8, types.int8, types.int32, types.int32, types.int32, real,
        integer, types.int32, integer, types.int32, real, integer, types.int32,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        references, kinds = [], []
        for kind, value in zip(signature.args[1:], args[1:], strict=True):
            plain = context.get_value_type(kind)
            if kind == integer:
                references.append(builder.inttoptr(value, ir.IntType(8).as_pointer()))
                kinds.append(ir.IntType(8).as_pointer())
            else:
                references.append(cgutils.alloca_once_value(builder, value))
                kinds.append(plain.as_pointer())
        function = ir.FunctionType(ir.VoidType(), kinds)
        builder.call(builder.inttoptr(args[0], function.as_pointer()), references)
        return context.get_dummy_value()

    return signature, generate


@inlined  # type: ignore[untyped-decorator]
def gemm(
    blas: Any, shape: Any, alpha: Any, A: Any, ta: Any, B: Any, tb: Any, beta: Any, C: Any
) -> Any:
    """C <- alpha op(A) @ op(B) + beta C by rows: C (m, n), shape (m, n, k); ta, tb: transposed.

    blas: the address of ?gemm. A, B, C: see `pointer`. In Fortran's order that is
    C.T <- alpha op(B).T @ op(A).T + beta C.T.
    """
    m, n, k = shape
    one, two = (84 if tb else 78), (84 if ta else 78)  # "T", "N"
    _call_gemm(
        blas, np.int8(one), np.int8(two), np.int32(n), np.int32(m), np.int32(k), alpha,
        B[0], np.int32(B[1]), A[0], np.int32(A[1]), beta, C[0], np.int32(C[1]),
    )  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def call_fortran(context: Any, address: Any, arguments: Any) -> Any:
    """Call a Fortran subroutine at this address: integers of machine size are addresses.

    All other scalars in the tuple `arguments` are passed by reference, as Fortran wants them.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        references = []
        for kind, value in zip(
            arguments.types, cgutils.unpack_tuple(builder, args[1]), strict=True
        ):
            if kind == types.intp:
                references.append(builder.inttoptr(value, ir.IntType(8).as_pointer()))
            else:
                references.append(cgutils.alloca_once_value(builder, value))
        function = ir.FunctionType(ir.VoidType(), [reference.type for reference in references])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), references)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate


@inlined  # type: ignore[untyped-decorator]
def pointer(x: Any) -> Any:
    """Return the address of a contiguous matrix and the distance of its rows, in numbers."""
    return np.intp(x.ctypes.data), x.shape[1]


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(context: Any, address: Any, like: Any) -> Any:
    """Return a pointer to numbers of the dtype of the array `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@inlined  # type: ignore[untyped-decorator]
def matrix(address: Any, like: Any, rows: Any, columns: Any) -> Any:
    """Return the matrix at this address, of the dtype of `like`."""
    return carray(_pointer(address, like), (rows, columns))


def gemm_address(dtype: Any) -> int:
    """Return the address of SciPy's ?gemm for this dtype: the one BLAS of all compiled code."""
    found = GEMM.get(dtype.char)
    if found is None:
        name = "dgemm" if dtype == np.float64 else "sgemm"
        found = get_cython_function_address("scipy.linalg.cython_blas", name)
        GEMM[dtype.char] = found
    return found


def subroutine_address(name: str, dtype: Any) -> int:
    """Return the address of another subroutine of SciPy's BLAS or LAPACK, "syrk" or "potrf"."""
    found = OTHERS.get((name, dtype.char))
    if found is None:
        library = "cython_blas" if name in ("syrk",) else "cython_lapack"
        full = ("d" if dtype == np.float64 else "s") + name
        found = get_cython_function_address(f"scipy.linalg.{library}", full)
        OTHERS[name, dtype.char] = found
    return found


GEMM: dict[str, int] = {}  # by the dtype's char; a test may put a recorder here
OTHERS: dict[tuple[str, str], int] = {}
