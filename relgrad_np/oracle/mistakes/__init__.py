"""The catalogue: known mistakes, each a few executable lines."""
