"""The CUDA C itself, run on the CPU: g++ compiles it, every thread of a block is a thread.

What CUDA adds to C++ is defined away: a block's shared memory is static, a barrier is a barrier,
blocks come one after another. Blocks of `threads`: the kernels are right for any power of two.
"""

import ctypes
import re
import shutil
import subprocess

import numpy as np

from relgrad_np.kernels.cuda import sources

SHIM = r"""
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
using std::exp; using std::fabs; using std::isfinite; using std::log; using std::log1p;
using std::sqrt; using std::tanh;
struct Three { int x, y, z; };
static thread_local Three threadIdx, blockIdx;
static Three blockDim, gridDim;
static std::barrier<>* gate;
#define __global__
#define __device__ static
#define __shared__ static
static void __syncthreads() { gate->arrive_and_wait(); }
template <typename F> static void run(int grid, int x, int y, F kernel) {
  blockDim = {x, y, 1}; gridDim = {grid, 1, 1};
  std::barrier<> own(x * y);
  gate = &own;
  std::vector<std::thread> threads;
  for (int t = 0; t < x * y; t++)
    threads.emplace_back([=] {
      threadIdx = {t % x, t / x, 0};
      for (int block = 0; block < grid; block++) {
        blockIdx = {block, 0, 0};
        kernel();
        gate->arrive_and_wait();
      }
    });
  for (auto& thread : threads) thread.join();
}
"""


def signatures():
    """Name and parameter types of every kernel, read from the source."""
    found = {}
    for name, text in re.findall(r"__global__ void (\w+)\(([^)]*)\)", sources.CODE):
        found[name] = [" ".join(p.split()[:-1]).replace("const ", "") for p in text.split(",")]
    return found


TYPES = {"integer": ctypes.c_longlong, "float": ctypes.c_float, "double": ctypes.c_double}


class Compiled:
    """The kernels for one dtype; attributes are called with NumPy arrays, as the stand-ins are."""

    def __init__(self, dtype, folder):
        self.real, self.blocks, self.threads = sources.REALS[dtype], 3, 1
        entries = []
        for name, kinds in signatures().items():
            args = ", ".join(f"{kind} a{i}" for i, kind in enumerate(kinds))
            names = ", ".join(f"a{i}" for i in range(len(kinds)))
            entries.append(
                f'extern "C" void run_{name}(int grid, int x, int y, {args}) '
                f"{{ run(grid, x, y, [=] {{ {name}({names}); }}); }}"
            )
        text, library = folder / f"{dtype}.cpp", folder / f"{dtype}.so"
        text.write_text("\n".join([SHIM, sources.CODE, *entries]))
        subprocess.run(
            ["g++", "-std=c++20", "-O1", "-pthread", "-shared", "-fPIC", f"-DREAL={self.real}",
             "-Wall", "-Wno-unused", "-o", str(library), str(text)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        self.library = ctypes.CDLL(str(library))
        self.kinds = signatures()

    def __getattr__(self, name):
        entry, kinds = getattr(self.library, f"run_{name}"), self.kinds[name]

        def call(*args):
            assert len(args) == len(kinds), f"{name} takes {len(kinds)} arguments"
            passed = []
            for value, kind in zip(args, kinds, strict=True):
                if kind.endswith("*"):
                    assert isinstance(value, np.ndarray), f"{name}: {kind} got {type(value)}"
                    want = {
                        "real*": self.real,
                        "double*": "double",
                        "int*": "int32",
                        "bool*": "bool",
                    }
                    assert value.dtype == np.dtype(
                        {"float": "f4", "double": "f8"}.get(want[kind], want[kind])
                    ), (name, kind, value.dtype)
                    passed.append(ctypes.c_void_p(value.ctypes.data))
                else:
                    passed.append(TYPES[self.real if kind == "real" else kind](value))
            y = 2 if name == "move_bias" and self.threads > 1 else 1
            entry(1 if name == "decide" else self.blocks, self.threads // y, y, *passed)

        return call


def have_compiler():
    return shutil.which("g++") is not None
