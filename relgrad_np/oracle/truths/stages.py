"""The arrays of a case, in the order in which an error propagates.

An array is named `stage_k`, where k is its index in the formulas: `Y_0`, `Z_1`, `Delta_0`. Arrays
of the whole net have no index: `L_p`. `Z_0` is X and `Z_L` the latent.
"""

import difflib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

Place = tuple[int, int, int]  # where an array stands in the order of propagation, see `order`


class Stage(NamedTuple):
    """One kind of array: where it stands, which layers have it, its shape and its conventions.

    `phase` is its place in the order of propagation. `layers` is "all", "hidden" (all but the last,
    or all where the last is activated) or "net". What is `signed` has the other sign in code that
    descends, what is `summed` is N times larger in code that sums over samples, and what is
    `square` is transposed in code that stores W as (in, out); so are the
    matrices of context, which only cases with context have.

    >>> STAGES["R_W"].shape, STAGES["R_W"].square
    ('D D', True)
    """

    name: str
    phase: int
    layers: str
    shape: str
    meaning: str
    signed: bool = False
    square: bool = False

    @property
    def summed(self) -> bool:
        """What has the sign of a gradient has the 1/N of the mean, too."""
        return self.signed

    @property
    def of_context(self) -> bool:
        """Whether only cases with context have it."""
        return self.shape == "D c"

    @property
    def turned(self) -> bool:
        """Whether it is transposed where W is stored as (in, out)."""
        return self.square or self.of_context


def _gradients(phase: int, letter: str, suffix: str, meaning: str) -> list[Stage]:
    return [
        Stage(f"{letter}_W{suffix}", phase, "all", "D D", meaning, True, True),
        Stage(f"{letter}_b{suffix}", phase + 1, "all", "D", meaning, True),
        Stage(f"{letter}_C{suffix}", phase + 2, "all", "D c", meaning, True),
    ]


_ALL = [
    Stage("Y", 0, "all", "N D", "output of layer k with its bias, Z_k @ W_k.T + b_k"),
    Stage("Z", 0, "all", "N D", "Z_{k+1} = sigma(Y_k); the last layer is affine: Z_L = Y_{L-1}"),
    Stage("log_dsigma", 1, "hidden", "N D", "log sigma'(Y_k)"),
    Stage("dlog_dsigma", 2, "hidden", "N D", "(log sigma')'(Y_k)"),
    Stage("L_p", 3, "net", "N", "sum_i log p(Z_L), of each sample"),
    Stage("L_J1", 4, "net", "N", "sum_k sum_i log sigma'(Y_k), of each sample"),
    Stage("L_J2", 5, "net", "", "sum_k log|det W_k|, once"),
    Stage("log_prob", 6, "net", "N", "L_p + L_J1 + L_J2, of each sample"),
    Stage("Delta", 7, "all", "N D", "d mean(L_p + L_J1) / d Y_k; with its 1/N", True),
    *_gradients(8, "G", "", "ordinary gradient of mean(log p)"),
    Stage("xi", 11, "all", "D D", "Delta' Y + I = G_W W' + G_b b', so that R_W = xi W", True, True),
    *_gradients(12, "R", "", "relative gradient, G~ W~' W~ (side output, bias augmented)"),
    Stage("R_W_separate", 15, "all", "D D", "G_W W' W: the bias is not in the group", True, True),
    *_gradients(16, "R", "_input", "W W' G: the input side"),
    Stage("W_plus", 19, "all", "D D", "W + eta R_W, the plain step", square=True),
    Stage("b_plus", 20, "all", "D", "b + eta R_b, the plain step"),
    Stage("C_plus", 21, "all", "D c", "C + eta R_C, the plain step"),
    Stage("logdet_plus", 22, "all", "", "log|det W_plus|"),
    Stage("W_exp", 23, "all", "D D", "exp(eta xi~) W~, the exponential step", square=True),
    Stage("b_exp", 24, "all", "D", "the bias of exp(eta xi~) W~"),
    Stage("C_exp", 25, "all", "D c", "the matrix of context of exp(eta xi~) W~"),
    Stage("X_back", 26, "net", "N D", "the samples whose latent is the input Z_back"),
]
STAGES: dict[str, Stage] = {stage.name: stage for stage in _ALL}
"""Every stage by name, in order of propagation."""


@lru_cache(maxsize=4096)
def split(name: str) -> tuple[str, int | None]:
    """Return stage and index of an array's name; ValueError for an unknown one.

    >>> split("R_W_input_2"), split("L_p")
    (('R_W_input', 2), ('L_p', None))
    """
    if name in STAGES and STAGES[name].layers == "net":
        return name, None
    stage, _, index = name.rpartition("_")
    known = stage in STAGES and STAGES[stage].layers != "net"
    if not known or not index.isascii() or not index.isdigit() or str(int(index[:9])) != index:
        raise ValueError(f"unknown array {name[:60]!r}{_meant(name)}")
    return stage, int(index)


def _meant(name: str) -> str:
    """Return which arrays may be meant by a name that there is not.

    >>> _meant("R_W"), _meant("logprob"), _meant("foo")
    ('; each layer has its own: R_W_0, R_W_1, ...', "; did you mean 'log_prob'?", '')
    """
    if name in STAGES:
        first = 1 if name == "Z" else 0
        return f"; each layer has its own: {name}_{first}, {name}_{first + 1}, ..."
    stage, _, index = name.rpartition("_")
    whole = _near(name, (s for s in STAGES if STAGES[s].layers == "net"), 0.8)
    of_layer = _near(stage, STAGES, 0.6) if index.isdigit() else []
    found = whole or [f"{near}_{index}" for near in of_layer]
    return f"; did you mean {found[0]!r}?" if found else ""


def _near(name: str, choices: Iterable[str], share: float) -> list[str]:
    plain = {choice.lower(): choice for choice in choices}
    return [plain[low] for low in difflib.get_close_matches(name.lower(), plain, 1, share)]


def layer_of(name: str) -> int | None:
    """Return the layer that makes an array: Z_{k+1} is made by layer k; None for the whole net.

    >>> layer_of("Z_1"), layer_of("Y_1"), layer_of("L_p")
    (0, 1, None)
    """
    stage, k = split(name)
    return k - 1 if stage == "Z" and k is not None else k


def names(L: int, activated: bool = False, context: bool = False) -> Iterator[str]:
    """Yield the names of all arrays of a net of L layers, in order of propagation.

    `context`: those of the matrices of context, too.

    >>> list(names(1))[:4]
    ['Y_0', 'Z_1', 'L_p', 'L_J1']
    """
    found = []
    for stage in _ALL:
        if stage.of_context and not context:
            continue
        if stage.layers == "net":
            found.append(stage.name)
        else:
            hidden = stage.layers == "hidden" and not activated
            first = 1 if stage.name == "Z" else 0
            found += [f"{stage.name}_{k + first}" for k in range(L - 1 if hidden else L)]
    yield from sorted(found, key=lambda name: order(name, L))


@lru_cache(maxsize=4096)
def order(name: str, L: int) -> Place:
    """Return the place of an array in the order of propagation: phase, layer, Z after Y.

    Y_0, Z_1, Y_1, ... come in turn; Deltas come from the last layer to the first.

    >>> order("Z_1", 3) < order("Y_1", 3), order("Delta_2", 3) < order("Delta_0", 3)
    (True, True)
    """
    stage, _ = split(name)
    layer = layer_of(name) or 0
    place = L - 1 - layer if stage == "Delta" else layer
    return STAGES[stage].phase, place, int(stage == "Z")


def shape(name: str, N: int, D: int, c: int = 0) -> tuple[int, ...]:
    """Return the shape of an array.

    >>> shape("G_W_0", 4, 3), shape("L_J2", 4, 3), shape("G_C_0", 4, 3, 1)
    ((3, 3), (), (3, 1))
    """
    sizes = {"N": N, "D": D, "c": c}
    return tuple(sizes[letter] for letter in STAGES[split(name)[0]].shape.split())
