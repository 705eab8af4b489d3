"""What a report claims, as data: each error with its place, its reason, and what was right.

A program can compare them with what it planted; `wording` makes sentences of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .conditions import Condition
from .outcome import Entry


class Relation(NamedTuple):
    """What a wrong array is, in terms of the right one.

    `kind` and `detail` say it to a program, as ("factor", "1/N"); `factor` is the number, where one
    holds in all cases; `words` follow "it is".

    >>> Relation("transpose", "", "the transpose of the right one").factor is None
    True
    """

    kind: str
    detail: str
    words: str
    factor: float | None = None


class Root(NamedTuple):
    """An independent error: a stage that is wrong where what it reads is right, or is its own.

    `first`: an array that shows it, of a net of `layers` layers. `stage`, `layer`: where it is
    made, which is before that where `first` reads what was not supplied. `mistake`: its name in the
    catalogue. `condition`, `entries`: which arrays, and which of their entries, are wrong.
    `relation`: what they are. `with_it`: stages that the same mistake makes wrong. `perhaps`:
    stages that are wrong, too, and may be for the same reason: they read the same arrays that were
    not supplied. `right_before`: stages before it that were supplied and are right; `right_in`: in
    which layers, for those of them that are wrong elsewhere; `supplied_before`: whether anything
    was.
    `not_supplied`: stages that it reads and that were looked through. `unless_autodiff`: it may
    follow from these, if it was made by automatic differentiation of a wrong log_prob.
    `float32_sized`: the largest error in units of the array's size, if single precision makes such.
    """

    first: Entry
    layers: int
    stage: str
    layer: int | None
    wrong: int
    compared: int
    mistake: str | None = None
    condition: Condition | None = None
    entries: Condition | None = None
    relation: Relation | None = None
    with_it: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    right_before: tuple[str, ...] = ()
    right_in: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    supplied_before: bool = False
    not_supplied: tuple[str, ...] = ()
    unless_autodiff: tuple[str, ...] = ()
    float32_sized: float | None = None

    @property
    def where(self) -> str:
        """Layer and stage, as a report says them."""
        return self.stage if self.layer is None else f"layer {self.layer}, {self.stage}"

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this error makes wrong by itself, first the one that shows it."""
        return tuple(dict.fromkeys((self.first.stage, self.stage, *self.with_it, *self.perhaps)))


class Explanation(NamedTuple):
    """The independent errors, in order of propagation, and the stages that the rest follows from.

    >>> Explanation((), {}).cost
    0
    """

    roots: tuple[Root, ...]
    follows: Mapping[str, tuple[str, ...]]

    @property
    def cost(self) -> float:
        """How much is left to explain: a mistake by name costs less than one without."""
        return sum(1.0 if root.mistake else 2.5 for root in self.roots)


class Advice(NamedTuple):
    """Conventions to declare, and what was found when the candidate was run again with them.

    `tried` is False where that is not possible: for files that were made from the other W.
    """

    declare: Mapping[str, str]
    tried: bool
    wrong: int
    checked: int


def claims(
    roots: tuple[Root, ...], follows: Mapping[str, tuple[str, ...]], advice: Advice | None
) -> Iterator[dict[str, Any]]:
    """Yield every claim: an object with `claim`, `stage` and `layer`, and what it claims of them.

    >>> list(claims((), {"R_W": ("Delta",)}, None))
    [{'claim': 'follows', 'stage': 'R_W', 'from': ['Delta']}]
    """
    if advice is not None:
        yield {
            "claim": "convention", "declare": dict(advice.declare), "tried": advice.tried,
            "wrong": advice.wrong, "checked": advice.checked,
        }  # fmt: skip
    for root in roots:
        place = {"stage": root.stage, "layer": root.layer}
        yield {
            "claim": "error", **place, "case": root.first.case, "array": root.first.name,
            "wrong": root.wrong, "compared": root.compared, "with_it": list(root.with_it),
            "perhaps": list(root.perhaps), "unless_autodiff": list(root.unless_autodiff),
            "float32_sized": root.float32_sized,
        }  # fmt: skip
        if root.mistake is not None:
            yield {"claim": "mistake", **place, "mistake": root.mistake}
        for found in (root.condition, root.entries):
            if found is not None:
                yield {"claim": "condition", **place, **found._asdict()}
        if root.relation is not None:
            yield {"claim": "relation", **place, **root.relation._asdict()}
        yield {
            "claim": "right before", **place, "stages": list(root.right_before),
            "layers": {stage: list(layers) for stage, layers in root.right_in.items()},
        }  # fmt: skip
        if root.not_supplied:
            yield {"claim": "not supplied", **place, "stages": list(root.not_supplied)}
    for stage, sources in follows.items():
        yield {"claim": "follows", "stage": stage, "from": list(sources)}
