"""Print who imports whom in the package: wings and files on floors, circles, arrows that run back.

    python tests/programs/import_graph.py [--files | --mermaid]

A file stands one floor above the highest file that it imports. Imports inside functions count like
any other. The package's own `__init__` collects the public names and is imported by nobody.
`--mermaid` prints the diagram of ARCHITECTURE.md.
"""

import argparse
import ast
import functools
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "relgrad_np"  # of this checkout
if not ROOT.exists():  # the tests beside an installed package
    ROOT = Path(importlib.util.find_spec("relgrad_np").origin).parent


@functools.cache
def nodes(path):
    """Return all nodes of a file's syntax tree, which is made once."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def statements(body):
    """Yield all statements of a body, at any depth; what is inside expressions imports nothing."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(node, part, ()))


def modules(root=ROOT):
    """Return the path of every module of the package, by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name, path, known):
    """Return the modules of the package that a module imports, at any depth of its code."""
    found, package = set(), name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(
                [*parents, *(node.module or "").split(".")] if node.level else [node.module]
            )
            base = base.rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return {x for x in found if x in known and x != name}


@functools.cache
def graph(root=ROOT):
    """Return for each module those that it imports."""
    known = modules(root)
    return {name: imports(name, path, known) for name, path in known.items()}


def grouped(arrows, depth, inside=""):
    """Merge modules into rooms: their first `depth` names below the package or the wing `inside`."""

    def room(name):
        if inside and not name.startswith(inside + "."):
            return None
        start = len(inside.split(".")) if inside else 1
        return ".".join(name.split(".")[: start + depth])

    rooms = {}
    for name, targets in arrows.items():
        here = room(name)
        if here is None or name == inside:
            continue
        mine = rooms.setdefault(here, set())
        mine |= {room(t) for t in targets} - {here, None, inside or None}
    return rooms


def circles(arrows):
    """Return the groups of rooms that import one another, directly or in a ring (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(arrows.get(v, ())):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            ring = []
            while not ring or ring[-1] != v:
                ring.append(stack.pop())
            if len(ring) > 1:
                found.append(sorted(ring))

    for v in sorted(arrows):
        if v not in index:
            visit(v)
    return found


def floors(arrows):
    """Return the floor of every room, 1 for those that import nothing; there must be no circle."""
    known = {}

    def floor(v):
        if v not in known:
            known[v] = 1 + max((floor(w) for w in arrows.get(v, ()) if w in arrows), default=0)
        return known[v]

    return {v: floor(v) for v in arrows}


def house(root=ROOT):
    """Return the rooms of the top level: wings, and files that stand beside them."""
    arrows = grouped(graph(root), 1)
    return {
        room: targets - {"relgrad_np"} for room, targets in arrows.items() if room != "relgrad_np"
    }


def wings(root=ROOT):
    """Return the names of the folders that are packages, the wings."""
    return sorted(f"{root.name}.{p.parent.name}" for p in root.glob("*/__init__.py"))


def show(title, arrows):
    """Print rooms floor by floor, the highest first; return the number of floors."""
    rings = circles(arrows)
    for ring in rings:
        print(f"{title}: CIRCLE {', '.join(ring)}")
    if rings:
        return 0
    where = floors(arrows)
    height = max(where.values(), default=0)
    print(f"{title}: {len(arrows)} rooms, {height} floors, {sum(map(len, arrows.values()))} arrows")
    for level in range(height, 0, -1):
        print(
            f"  {level:2d}  "
            + "  ".join(v.rpartition(".")[2] for v in sorted(arrows) if where[v] == level)
        )
    return height


def reduced(arrows):
    """Return the arrows without those that others imply: what a -> b -> c says of a -> c."""

    def reach(v):
        return {w for u in arrows[v] for w in {u} | reach(u)}

    return {v: {w for w in ws if not any(w in reach(u) for u in ws)} for v, ws in arrows.items()}


def mermaid(root=ROOT):
    """Return the house as a Mermaid diagram: floors, and the arrows that no others imply."""
    arrows = {
        v.rpartition(".")[2].strip("_"): {w.rpartition(".")[2] for w in ws}
        for v, ws in house(root).items()
    }
    where, lines = floors(arrows), ["flowchart TB"]
    for level in range(max(where.values()), 0, -1):
        lines.append(f'  subgraph F{level}["floor {level}"]')
        lines += [f"    {v}" for v in sorted(arrows) if where[v] == level]
        lines.append("  end")
    lines += [f"  {v} --> {w}" for v, ws in sorted(reduced(arrows).items()) for w in sorted(ws)]
    return "\n".join(lines)


def main():
    """Print the graph; exit status 1 if there is a circle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", action="store_true", help="every wing from inside, too")
    parser.add_argument("--mermaid", action="store_true", help="only the diagram of the floors")
    options = parser.parse_args()
    if options.mermaid:
        print(mermaid())
        return 0
    arrows = graph()
    rings = circles({v: w for v, w in arrows.items() if v != "relgrad_np"})
    show("relgrad_np", house())
    for wing in wings():
        inner = grouped(arrows, 9, wing)
        if options.files:
            show(wing, inner)
        else:
            rings_inside = circles(inner)
            print(
                f"{wing}: {len(inner)} files, {0 if rings_inside else max(floors(inner).values())} floors"
            )
    for ring in rings:
        print("CIRCLE of files: " + ", ".join(ring))
    return 1 if rings or circles(house()) else 0


if __name__ == "__main__":
    sys.exit(main())
