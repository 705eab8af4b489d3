"""Claims in words: the sentences of a report's diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..conventions import FILE, MEANING, Conventions
from ..mistakes.catalogue import mistakes
from .claims import Advice, Root
from .conditions import Condition
from .precision import EITHER

HOW_TO_SUPPLY = "return these too, in a dict with the names of docs/check.md (Y_0, Z_1, ...)"


def diagnosis(roots: Sequence[Root], *, isolated: bool = False) -> str:
    """Return a sentence for each error; the first in order of propagation comes first.

    >>> diagnosis([])
    ''
    """
    return "; also wrong: ".join(error(root, isolated=isolated) for root in roots)


def error(root: Root, *, isolated: bool = False) -> str:
    """Return what is wrong, where, what it is, and what was right before it."""
    found = (root.condition, root.entries)
    words = [_what(root), *(_only(c) for c in found if c is not None and not _is_of_layers(c))]
    said = root.relation is not None and "float32" in root.relation.words
    if root.float32_sized is not None and not said:
        words.append(suspicion(root.float32_sized))
    if root.with_it:
        words.append(f"it makes {_listed(root.with_it)} wrong, too")
    if root.first.stage != root.stage:
        words.append(f"{root.stage} was not supplied: the first error seen is in {root.first.name}")
    elif root.not_supplied and root.mistake is None:
        was = "was" if len(root.not_supplied) == 1 else "were"
        words.append(f"{_listed(root.not_supplied)} {was} not supplied: the error may lie there")
        words.append(f"to locate it, {HOW_TO_SUPPLY}")
    if root.perhaps:
        words.append(f"{_listed(root.perhaps)} may be wrong for the same reason")
    if root.unless_autodiff:
        follows = _listed(root.unless_autodiff)
        words.append(f"if it was made by automatic differentiation, it may follow from {follows}")
    words.append("the inputs were the true ones" if isolated else _before(root))
    return "; ".join(words)


def suspicion(size: float) -> str:
    """Return what errors of this size, relative to the array's, make one suspect.

    >>> suspicion(3e-8)[:62]
    'its errors are at most 3e-08 of its size, as float32 makes the'
    """
    start = f"its errors are at most {size:.0e} of its size, as float32 makes them"
    return f"{start}: {EITHER}, or a small epsilon is added"


def _what(root: Root) -> str:
    where = root.where + _scope(root)
    if root.mistake is not None:
        return f"{where}: {mistakes[root.mistake].title}"
    size = f"wrong by {root.first.units:.1e} of what is allowed (case {root.first.case})"
    if root.relation is not None:
        return f"{where}: it is {root.relation.words}; it is {size}"
    return f"{where}: it is {size}; no mistake of the catalogue explains it"


def _is_of_layers(found: Condition) -> bool:
    return found.key == "layer"


def _scope(root: Root) -> str:
    """Return in which layers an error is, if not in all."""
    found = root.condition
    if found is None or not _is_of_layers(found):
        return ""
    this = found.value == "first" or found.value.isdigit()
    return " (in this layer only)" if this else f" ({found.words} only)"


def _only(found: Condition) -> str:
    met = f"{found.wrong} of {found.met}" if not found.exact else f"all {found.met}"
    return f"only {found.words}: {met} {found.of} there, none of the {found.others} others"


def _before(root: Root) -> str:
    if root.right_before:
        right = (stage + _of_layers(root.right_in.get(stage, ())) for stage in root.right_before)
        return f"right before it: {', '.join(right)}"
    if root.supplied_before:
        return "nothing that was supplied before it is right"
    return "nothing before it was supplied"


def _of_layers(layers: Sequence[int]) -> str:
    """Return in which layers a stage is right; nothing where it is so in all."""
    if not layers:
        return ""
    if len(layers) == 1:
        return f" of layer {layers[0]}"
    if len(layers) > 2 and layers[-1] - layers[0] == len(layers) - 1:
        return f" of layers {layers[0]} to {layers[-1]}"
    return f" of layers {_listed([str(layer) for layer in layers])}"


def undeclared(advice: Advice, roots: Sequence[Root], declared: Mapping[str, str]) -> str:
    """Return which conventions to declare, and what is right once they are."""
    listed = "; ".join(_convention(key, value, declared) for key, value in advice.declare.items())
    start, would, hedge = "with that declared,", "are", ""
    if not advice.tried:
        start = "with that declared, W transposed on reading and the results written anew,"
        would, hedge = "would still be", ", as far as files can tell"
    rest = f"{start} everything supplied {'is' if advice.tried else 'would be'} right{hedge}"
    if advice.wrong:
        count = f"{advice.wrong} of {advice.checked} arrays"
        rest = f"{start} {count} {would} wrong{hedge}: {diagnosis(roots)}"
    return f"undeclared: {listed}; {rest}; declare it in {FILE} or as oracle.Conventions"


def _convention(key: str, value: str, declared: Mapping[str, str]) -> str:
    if (key, value) in MEANING:
        return f"{key} = {value} ({MEANING[key, value]})"
    return f"{key} = {value}, not {getattr(Conventions(**declared), key)}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
