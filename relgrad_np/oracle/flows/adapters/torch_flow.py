"""A PyTorch model as the keyword arguments of `check_flow`: functions of NumPy arrays.

What is judged is a copy in float64 on the CPU, in evaluation mode; another copy in float32 serves
the law of precision. Parameters are NumPy views of the copy's, gradients are autograd's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...candidate import said
from ...truths.records import Array
from .copies import copied, held, initialised
from .face import Face, halved, outside
from .modules import face_of
from .parts import parts_of

ROWS = 32
RETURNS = {"forward": 2, "inverse": 1, "log_prob": 0, "base": 0}
OUTSIDE = ("InputOutsideDomain",)
UNAVAILABLE = ("NotImplementedError", "InverseNotAvailable")


def torch_flow(
    made: Any,
    *,
    D: int,
    context: Any = None,
    X: Array | None = None,
    base: Any = None,
    shape: tuple[int, ...] | None = None,
    name: str | None = None,
    born: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what `check_flow` is to know of a PyTorch model; see `oracle.from_torch`."""
    import torch

    shape = shape or (D,)
    if int(np.prod(shape)) != D:
        raise ValueError(f"`shape` {shape} must have D = {D} numbers")
    bound = _context(context, torch.float64)
    double = copied(made, torch.float64)
    modules = [module for _, module in held(double, torch.nn.Module)]
    for module in modules:
        module.eval()
    draws = np.random.default_rng(seed).normal(0.2, 1.3, (ROWS, D))
    rows = torch.from_numpy(np.array(draws if X is None else X[:ROWS], dtype=np.float64))
    default, face = _usable(double, D, rows.reshape(-1, *shape), bound)
    notes = list(face.notes)
    if default is torch.float64:
        notes.append("it runs in float64 with torch.set_default_dtype(torch.float64) only")
    X_from = None
    if X is None and face.X is not None:
        X, X_from = face.X, "drawn inside its domain"
        rows = torch.from_numpy(X[:ROWS])
    face, said_so = _available(face, rows.reshape(-1, *shape))
    notes += said_so
    call = face.log_prob or face.forward
    assert call is not None  # face_of sees to it
    for module in modules:
        if initialised(module, lambda: call(rows.reshape(-1, *shape))):
            notes.append("it initialises itself from the first rows; a batch was run first")
    parts = face.parts
    if not parts and face.forward is not None:
        with _default(default):
            parts = tuple(parts_of(double, rows.reshape(-1, *shape), bound))
    flow = _Functions(face, shape, default, np.float64, seed)
    with contextlib.suppress(Exception):  # what it raises shows when it is judged
        flow.latent = tuple(face.forward(rows.reshape(-1, *shape))[0].shape[1:])  # type: ignore[misc]
    named = {key: p for key, p in _parameters(double).items() if p.requires_grad}
    gradient = flow.gradient(named, modules, rows)
    if gradient is not None and gradient.training:
        notes.append("its parameters get a gradient in training mode only, which is taken there")
    found: dict[str, Any] = {
        "D": D, "name": name or _name(made), "X": X, "X_from": X_from, "notes": tuple(notes),
        **flow.all(),
        "parts": [
            (key, flow.map(ahead), None if back is None else flow.map(back))
            for key, ahead, back in parts
        ],
        "parameters": {key: p.detach().numpy() for key, p in named.items()},
        "gradient": gradient, "vjp": flow.vjp() if face.forward else None,
        "modes": _modes(modules) if modules else None,
    }  # fmt: skip
    if base is not None:
        found["base"] = flow.map(base.log_prob) if hasattr(base, "log_prob") else base
    found["born"] = born or _born(made)
    found["in_float32"] = _single(double, D, rows, shape, flow.latent, context, seed)
    from .dense import dense_of

    found["dense"] = dense_of(found, rows.numpy())
    return {key: value for key, value in found.items() if value is not None}


class _Functions:
    """The functions of a face for NumPy arrays: rows are shaped on the way in and flattened out."""

    def __init__(
        self, face: Face, shape: tuple[int, ...], default: Any, dtype: Any, seed: int
    ) -> None:
        self.face, self.shape, self.default, self.dtype = face, shape, default, dtype
        self.seed, self.latent = seed, shape

    def all(self) -> dict[str, Any]:
        """Return forward, inverse, log_prob, sample and base; None for what there is not."""
        f = self.face
        maps = {key: getattr(f, key) for key in ("forward", "inverse", "log_prob", "base")}
        found = {
            key: None if call is None else self.map(call, key in ("inverse", "base"), RETURNS[key])
            for key, call in maps.items()
        }
        return {**found, "sample": None if f.sample is None else self.sample}

    def map(
        self, call: Callable[[Any], Any], of_latent: bool = False, returns: int = 2
    ) -> Callable[[Array], Any]:
        """Return a torch function as one of NumPy rows (N, D).

        A row outside the domain, for which it raises, gets NaN. `returns`: what it returns
        as long as no row was inside, 2 for (z, log|det|), 1 for z, 0 for numbers.
        """
        arrays = [returns]

        def run(x: Array) -> Any:
            t = self.tensor(x)
            with _default(self.default):
                try:
                    found = _numpy(call(t.reshape(len(x), *self.latent) if of_latent else t))
                except Exception as error:
                    if type(error).__name__ in UNAVAILABLE:
                        raise NotImplementedError(str(error)) from error
                    if not _of_domain(error):
                        raise
                    return halved(run, x) if len(x) > 1 else outside(arrays[0], x)
            arrays[0] = 2 if isinstance(found, tuple) else found.ndim - 1
            return found

        return run

    def tensor(self, x: Array) -> Any:
        """Return rows as the model takes them; they share memory with x, so that changes show."""
        import torch

        x = np.asarray(x, self.dtype)
        x = x if x.flags.writeable else x.copy()
        return torch.from_numpy(x).reshape(len(x), *self.shape)

    def sample(self, n: int) -> Any:
        """Return n rows, and their log p where the model says it; a new draw at each call."""
        import torch

        assert self.face.sample is not None
        self.seed += 1
        for default in (self.default, torch.float64):
            with torch.random.fork_rng(), _default(default):
                torch.manual_seed(self.seed)
                try:
                    return _numpy(self.face.sample(n))
                except RuntimeError as error:  # noise of the default dtype: float32 in float64 nets
                    if default is torch.float64 or not _of_dtype(error):
                        raise
        raise AssertionError

    def gradient(self, named: dict[str, Any], modules: list[Any], rows: Any) -> Any:
        """Return the gradient of the mean of log p, or of log|det J|; None without parameters."""
        return None if not named else _Gradient(self, named, modules, rows.numpy())

    def vjp(self) -> Callable[[Array, Array], Array]:
        """Return (x, u) -> J'u for each row, (N, D)."""
        import torch

        def run(x: Array, u: Array) -> Array:
            with _default(self.default):
                t = self.tensor(x).clone().requires_grad_()
                z = self.face.forward(t)[0]  # type: ignore[misc]
                (g,) = torch.autograd.grad(z, t, torch.from_numpy(u).reshape(z.shape))
            return np.asarray(g.reshape(len(x), -1).numpy())

        return run


class _Gradient:
    """Gradients by autograd; what gets none is absent.

    `training`: no parameter gets one in evaluation mode but some do in training mode, where they
    are taken then.
    """

    def __init__(
        self, flow: _Functions, named: dict[str, Any], modules: list[Any], rows: Array
    ) -> None:
        self.flow, self.named, self.modules, self.training = flow, named, modules, False
        with contextlib.suppress(Exception):  # what it raises shows when it is judged
            if not self(rows):
                self.training = True
                self.training = bool(self(rows))

    def __call__(self, x: Array) -> dict[str, Array]:
        import torch

        f, named = self.flow.face, self.named
        kept = [(part, part.training) for module in self.modules for part in module.modules()]
        try:
            if self.training:
                _modes(self.modules)(True)
            with _default(self.flow.default):
                t = self.flow.tensor(x)
                value = f.log_prob(t) if f.log_prob else f.forward(t)[1]  # type: ignore[misc]
                if not value.requires_grad:
                    return {}
                grads = torch.autograd.grad(value.mean(), list(named.values()), allow_unused=True)
        finally:
            for part, mode in kept:
                part.training = mode
        return {k: g.numpy() for k, g in zip(named, grads, strict=True) if g is not None}


def _usable(double: Any, D: int, rows: Any, bound: Any) -> tuple[Any, Face]:
    """Return (default dtype that it needs or None, face); ValueError in one line for none.

    What a known style of model raises is left for `check_flow` to report, unless it's the size.
    """
    import torch

    for default in (None, torch.float64):
        face = None
        with _default(default):
            try:
                face = face_of(double, D, rows, bound)
                for call in (face.forward, face.log_prob) if face.X is None else ():
                    if call is not None:
                        call(rows)
            except Exception as error:
                if default is None and _of_dtype(error):
                    continue
                size = any(word in str(error) for word in ("shape", "size", "dimension"))
                if face is None and isinstance(error, ValueError):
                    raise
                if face is None or size:
                    text = f"it can't be called at rows of D = {D}: {said(error)}"
                    raise ValueError(text) from None
        assert face is not None
        return default, face
    raise AssertionError


def _of_domain(error: Exception) -> bool:
    """Return whether an exception says that a row is outside the model's domain."""
    return type(error).__name__ in OUTSIDE or "within the support" in str(error)


def _of_dtype(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, (RuntimeError, TypeError)) and any(
        word in text for word in ("dtype", "double", "float32", "scalar type")
    )


def _available(face: Face, rows: Any) -> tuple[Face, list[str]]:
    """Leave out what the model says it doesn't have; a note says so.

    A model without a way from data to latent is judged from latent to data.
    """
    notes: list[str] = []
    for key in ("forward", "inverse", "log_prob"):
        call = getattr(face, key)
        try:
            if call is not None:
                call(rows)
        except Exception as error:  # any other shows when it is judged
            if type(error).__name__ in UNAVAILABLE:
                gone: Any = {key: None}
                face = face._replace(**gone)
                notes.append(f"it has no {key}: {error}")
    if face.forward is None and face.inverse is not None:
        notes.append("its map from latent to data is judged: there `forward` stands for inverse")
        face = face._replace(forward=face.inverse, inverse=None, base=None, sample=None)
    if face.forward is None and face.log_prob is None:
        raise ValueError("; ".join(notes))
    return face, notes


def _single(
    double: Any, D: int, rows: Any, shape: tuple[int, ...], latent: tuple[int, ...], context: Any,
    seed: int,
) -> dict[str, Any] | None:  # fmt: skip
    """Return the functions of a float32 copy that take and return NumPy; None without one."""
    import torch

    copy = copied(double, torch.float32)
    bound = _context(context, torch.float32)
    try:
        face = face_of(copy, D, rows.float().reshape(-1, *shape), bound)
    except Exception:  # a float64 model that has no float32 face isn't wrong
        return None
    flow = _Functions(face, shape, None, np.float32, seed)
    flow.latent = latent
    found = flow.all()
    keys = ("forward", "inverse", "log_prob")
    return {key: found[key] for key in keys if found[key] is not None}


def _parameters(made: Any) -> dict[str, Any]:
    """Return the parameters of a model by name, each once; leaves that require a gradient too."""
    import torch

    if isinstance(made, torch.nn.Module):
        return dict(made.named_parameters())
    return {key: x for key, x in held(made, torch.Tensor) if x.is_leaf}


def _born(made: Any) -> str:
    """Return the dtype that a model has: of its parameters, of its tensors, or torch's default."""
    import torch

    x = list(_parameters(made).values()) or [x for _, x in held(made, torch.Tensor)]
    dtypes = {t.dtype for t in x if t.dtype.is_floating_point} or {torch.get_default_dtype()}
    return "float64" if torch.float64 in dtypes else "float32"


def _modes(modules: list[Any]) -> Callable[[bool], None]:
    def train(on: bool) -> None:
        for module in modules:
            module.train(on)

    return train


def _context(context: Any, dtype: Any) -> Any:
    """Return a context as one row (1, C); ValueError for several."""
    import torch

    if context is None:
        return None
    row = torch.as_tensor(np.asarray(context, np.float64)).to(dtype)
    row = row.reshape(1, -1) if row.ndim < 2 else row
    if len(row) != 1:
        raise ValueError(f"`context` must be one row, got {len(row)}: call from_torch for each")
    return row


def _numpy(found: Any) -> Any:
    """Return results as NumPy arrays: rows flattened to (N, D)."""
    if isinstance(found, (tuple, list)):
        return tuple(_numpy(x) for x in found[:2])
    if not hasattr(found, "detach"):
        raise TypeError(f"it returned a {type(found).__name__}, not a tensor")
    x = found.detach().cpu()
    return x.reshape(len(x), -1).numpy() if x.ndim > 2 else x.numpy()


@contextlib.contextmanager
def _default(dtype: Any) -> Iterator[None]:
    """Set torch's default dtype for a while; None leaves it."""
    import torch

    before = torch.get_default_dtype()
    try:
        if dtype is not None:
            torch.set_default_dtype(dtype)
        yield
    finally:
        torch.set_default_dtype(before)


def _name(made: Any) -> str:
    return str(getattr(made, "__name__", type(made).__name__))
