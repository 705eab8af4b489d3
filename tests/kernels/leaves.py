"""The leaves of a tree of arrays, each under its path, for what tests say of them."""


def leaves(tree, path=""):
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", range(len(tree)))
        for name, part in zip(names, tree, strict=True):
            yield from leaves(part, f"{path}.{name}")
    else:
        yield path, tree
