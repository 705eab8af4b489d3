"""What a case is made of: the inputs, the right arrays, and how far off a right result may be."""

from collections.abc import Iterable
from typing import Any, NamedTuple

Array = Any
ETA = 3 / 64


class Spec(NamedTuple):
    """An activation or a base density: its name and its parameters, without any code.

    `part` is the object itself where it is none of the registry: a part made with `extend`.
    """

    name: str
    params: dict[str, float]
    part: Any = None


class Problem(NamedTuple):
    """What a candidate is given: X (N, D), W and b of each layer, the model, eta, Z_back (N, D).

    `last_layer` is "affine" or "activated"; `bias` is "yes", or "none" where b = 0. A case with
    context also has U (N, c) and the matrices C (D, c) of each layer, y = W z + C u + b; others
    have U = None and C = (). Z_back has the context U, too.

    >>> import numpy as np
    >>> model = Spec("identity", {}), Spec("normal", {})
    >>> problem = Problem("id", "family", "", np.ones((4, 2)), (np.eye(2),), (np.ones(2),), *model)
    >>> problem.N, problem.D, problem.L, problem.dtype
    (4, 2, 1, 'float64')
    """

    id: str
    family: str
    comment: str
    X: Array
    W: tuple[Array, ...]
    b: tuple[Array, ...]
    activation: Spec
    density: Spec
    eta: float = ETA
    Z_back: Array = None
    last_layer: str = "affine"
    bias: str = "yes"
    U: Array = None
    C: tuple[Array, ...] = ()

    def __repr__(self) -> str:
        """Return name, sizes and parts, without the arrays."""
        parts = f"{self.activation.name}, {self.density.name}, {self.dtype}"
        return f"Problem({self.id!r}, N={self.N}, D={self.D}, L={self.L}, c={self.c}, {parts})"

    @property
    def c(self) -> int:
        """Number of variables of context."""
        return 0 if self.U is None else int(self.U.shape[1])

    @property
    def N(self) -> int:
        """Number of samples."""
        return int(self.X.shape[0])

    @property
    def D(self) -> int:
        """Number of dimensions."""
        return int(self.X.shape[1])

    @property
    def L(self) -> int:
        """Number of layers."""
        return len(self.W)

    @property
    def dtype(self) -> str:
        """float64 or float32; the inputs of the suite are exact in both."""
        return str(self.X.dtype)

    def astype(self, dtype: str) -> "Problem":
        """Return the same inputs, copied, in float32 or float64."""
        W, b, C = (tuple(x.astype(dtype) for x in part) for part in (self.W, self.b, self.C))
        Z_back, U = (None if x is None else x.astype(dtype) for x in (self.Z_back, self.U))
        return self._replace(X=self.X.astype(dtype), W=W, b=b, Z_back=Z_back, U=U, C=C)


class Tolerance(NamedTuple):
    """A right array is off by at most eps (64 S + inherited).

    `size` is S without any condition number: about how large the array's terms are.

    >>> Tolerance(1.0, 0.0, 1.0).allowed(2.0**-52) == 2.0**-46
    True
    """

    S: float
    inherited: float
    size: float

    def allowed(self, eps: float) -> float:
        """Return the largest error of a right result in arithmetic of this precision."""
        return eps * (64 * self.S + self.inherited)


class Power(NamedTuple):
    """Which mistakes a case would show, in one precision: bit i stands for mistake i.

    `shows`: by array, those that make it wrong. `exists`: by stage, those that could be in a net of
    this kind at all, and make an array of the stage wrong for generic inputs.
    """

    shows: dict[str, int]
    exists: dict[str, int]


class Powers(NamedTuple):
    """The names of the mistakes that were run, and the powers of a case by dtype."""

    mistakes: tuple[str, ...]
    by_dtype: dict[str, Power]


class Share(NamedTuple):
    """The mistakes that would have shown in what was compared, and those that exist and would not.

    >>> Share(("a", "b", "c"), ("d",)).value
    0.75
    """

    shown: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def possible(self) -> int:
        """How many exist in the nets and arrays that were compared."""
        return len(self.shown) + len(self.missed)

    @property
    def value(self) -> float:
        """The share that would have shown; 0 where none exists."""
        return len(self.shown) / max(1, self.possible)


class Case(NamedTuple):
    """A problem, its expected arrays by name in order of propagation, and their tolerances.

    `powers`: what was found when the catalogued mistakes were run on it, if they were.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> case = small().cases[0]
    >>> case.expected["Y_0"].shape == (case.problem.N, case.problem.D)
    True
    """

    problem: Problem
    expected: dict[str, Array]
    tolerances: dict[str, Tolerance]
    powers: Powers | None = None

    def __repr__(self) -> str:
        """Return the problem, and the names of the arrays."""
        return f"Case({self.problem}, {len(self.expected)} arrays: {_some(self.expected)})"


class Suite(NamedTuple):
    """Cases, and where they come from.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> small()
    Suite('the small suite of this package', ... cases: generic-smooth_leaky_relu-sech, ...)
    >>> {case.problem.D for case in small().where(D=[2, 3]).cases}
    {2, 3}
    """

    name: str
    cases: tuple[Case, ...]

    def __repr__(self) -> str:
        """Return name and number of cases, and the names of the first."""
        names = _some(case.problem.id for case in self.cases)
        return f"Suite({self.name!r}, {len(self.cases)} cases: {names})"

    def where(self, **choices: Any) -> "Suite":
        """Return the cases whose problem has these properties: a value or a list of values."""
        kept = [case for case in self.cases if matches(case.problem, choices)]
        return self._replace(cases=tuple(kept))


def _some(names: Iterable[str]) -> str:
    """Return the first of some names.

    >>> _some("abcde"), _some("ab")
    ('a, b, c, d, ...', 'a, b')
    """
    listed = list(names)
    return ", ".join(listed[:4] + ["..."] * (len(listed) > 4))


PROPERTIES = (
    "id", "family", "N", "D", "L", "c", "activation", "density", "last_layer", "bias", "eta",
)  # fmt: skip


def matches(problem: Problem, choices: dict[str, Any]) -> bool:
    """Whether a problem has these properties; ValueError for one that there is not.

    >>> matches(Problem("", "", "", None, (), (), Spec("elu", {}), Spec("sech", {})), {"x": 1})
    Traceback (most recent call last):
    ValueError: `where` has an unknown property 'x'; choose from id, family, N, D, L, c, ...
    """
    for key, wanted in choices.items():
        if key not in PROPERTIES:
            listed = ", ".join(PROPERTIES)
            raise ValueError(f"`where` has an unknown property {key!r}; choose from {listed}")
        several = wanted if isinstance(wanted, (list, tuple, set, range)) else [wanted]
        if property_of(problem, key) not in several:
            return False
    return True


def property_of(problem: Problem, key: str) -> Any:
    """Return a property; of an activation or a density it is the name."""
    value = getattr(problem, key)
    return value.name if isinstance(value, Spec) else value
