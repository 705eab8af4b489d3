"""Which arrays each array is computed from: the one table that diagnosis by dependency rests on.

X, W, b, eta, Z_back and context are given and so right; they are not listed.
"""

from functools import lru_cache

from ..truths.stages import STAGES, split

# index of an input: "k" the array's own index, "k+1", "k-1"; "L" the last Z; "" for the whole net
READS: dict[str, tuple[str, ...]] = {
    "Y": ("Z_k",),
    "Z": ("Y_k-1",),
    "log_dsigma": ("Y_k",),
    "dlog_dsigma": ("Y_k",),
    "L_p": ("Z_L",),
    "L_J1": ("log_dsigma_all",),
    "L_J2": (),
    "log_prob": ("L_p", "L_J1", "L_J2"),
    "Delta": ("Delta_k+1", "Y_k", "dlog_dsigma_k"),  # of the last layer: Z_L for Delta_k+1
    "G_W": ("Delta_k", "Z_k"),
    "G_b": ("Delta_k",),
    "G_C": ("Delta_k",),
    "xi": ("Delta_k", "Y_k"),
    "R_W": ("Delta_k", "Y_k"),
    "R_b": ("Delta_k", "Y_k"),
    "R_C": ("Delta_k", "Y_k"),
    "R_W_separate": ("Delta_k", "Y_k"),
    "R_W_input": ("Delta_k", "Z_k"),
    "R_b_input": ("Delta_k",),
    "R_C_input": ("Delta_k",),
    "W_plus": ("R_W_k",),
    "b_plus": ("R_b_k",),
    "C_plus": ("R_C_k",),
    "logdet_plus": ("W_plus_k",),
    "W_exp": ("Delta_k", "Y_k"),
    "b_exp": ("Delta_k", "Y_k"),
    "C_exp": ("Delta_k", "Y_k"),
    "X_back": (),
}


@lru_cache(maxsize=4096)
def reads(name: str, L: int, hidden: int) -> tuple[str, ...]:
    """Return the arrays that an array's formula reads; `hidden` counts layers with an activation.

    >>> reads("Delta_0", 2, 1), reads("Delta_1", 2, 1), reads("R_W_1", 2, 1)
    (('Delta_1', 'Y_0', 'dlog_dsigma_0'), ('Z_2',), ('Delta_1', 'Y_1'))
    >>> reads("L_J1", 3, 2)
    ('log_dsigma_0', 'log_dsigma_1')
    """
    stage, k = split(name)
    found: list[str] = []
    for pattern in READS[stage]:
        source, _, index = pattern.rpartition("_")
        if STAGES.get(pattern) is not None and STAGES[pattern].layers == "net":
            found.append(pattern)
        elif index == "all":
            found += [f"{source}_{j}" for j in range(hidden)]
        elif index == "L":
            found.append(f"{source}_{L}")
        elif k is not None:
            j = k + {"k": 0, "k+1": 1, "k-1": -1}[index]
            if source == "Delta" and j == L:
                found.append(f"Z_{L}")
            elif not (source == "Z" and j == 0):
                found.append(f"{source}_{j}")
    if stage == "Delta" and k is not None and k >= hidden:
        found = found[:1]  # an affine layer
    return tuple(found)


def supplied_inputs(
    name: str, supplied: frozenset[str], L: int, hidden: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the nearest supplied arrays that an array depends on, and those looked through.

    >>> supplied_inputs("R_W_1", frozenset({"Y_1", "Z_2"}), 2, 1)
    (('Y_1', 'Z_2'), ('Delta_1',))
    """
    found: dict[str, None] = {}
    through: dict[str, None] = {}
    todo = list(reads(name, L, hidden))
    while todo:
        source = todo.pop(0)
        if source in supplied:
            found[source] = None
        elif source not in through:
            through[source] = None
            todo += reads(source, L, hidden)
    return tuple(found), tuple(through)
