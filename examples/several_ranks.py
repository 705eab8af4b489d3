# %% [markdown]
"""
# Several ranks, one fit

Several processes share the batches of a fit over MPI. The layers are the same on all of them, bit for bit, and equal those
of a single process up to rounding. This needs `pip install -e ".[distributed]" mpich`, or the MPI of your cluster.
"""

# %%
import subprocess
import sys
from pathlib import Path
from shutil import which

import numpy as np

import relgrad_np as rg

# %% [markdown]
# Every rank calls `fit` with the same arguments. This is the program of each:

# %%
program = """
import numpy as np
import relgrad_np as rg
from mpi4py import MPI

comm, rng = MPI.COMM_WORLD, np.random.default_rng(0)
X = rng.laplace(size=(2000, 6)) @ rng.standard_normal((6, 6)).T
model = rg.activation("smooth_leaky_relu"), rg.density("sech")
layers = rg.init_layers(rng, 6, 2, kind="gaussianize", X=X, activation=model[0])
result = rg.fit(layers, X, *model, rng=rng, epochs=5, comm=comm)
np.savez(f"rank{comm.rank}.npz", *[W for W, _ in result.layers])
"""
Path("fit_on_ranks.py").write_text(program)
mpiexec = which("mpiexec") or Path(sys.executable).with_name("mpiexec")
command = [mpiexec, "-n", "2", sys.executable, "fit_on_ranks.py"]
subprocess.run(command, check=True, capture_output=True)

# %% [markdown]
# The same fit in this process, to compare with the layers of the ranks:

# %%
rng = np.random.default_rng(0)
X = rng.laplace(size=(2000, 6)) @ rng.standard_normal((6, 6)).T
model = rg.activation("smooth_leaky_relu"), rg.density("sech")
layers = rg.init_layers(rng, 6, 2, kind="gaussianize", X=X, activation=model[0])
alone = rg.fit(layers, X, *model, rng=rng, epochs=5).layers

first, second = (np.load(f"rank{r}.npz") for r in range(2))
same = all(np.array_equal(first[k], second[k]) for k in first.files)
off = max(np.abs(first[k] - W).max() for k, (W, _) in zip(first.files, alone, strict=True))
print(f"the two ranks have the same layers, bit for bit: {same}")
print(f"they differ from those of one process by at most {off:.0e}")
assert same
assert off < 1e-9
