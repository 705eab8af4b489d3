"""Demonstrations that take longer than a test: each a command, its output kept beside it."""
