"""Known mistakes: `formulas` is the algorithm as replaceable lines, `catalogue` the wrong ones."""
