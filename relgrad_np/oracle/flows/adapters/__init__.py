"""Models of other libraries as the keyword arguments of `check_flow`.

`torch_flow`, `jax_flow` and `from_sklearn` each turn a model into functions of NumPy arrays; they
know libraries by what their objects have, and import none of them before they are asked to. In
torch, `modules` and `transforms` say how each style of model is called, `parts` takes a composed
flow apart, `copies` makes the copies that are judged in the place of the user's model, and `dense`
finds the matrices for which a relative gradient would save time.
"""
