"""The programs that try bombs and damage see what they are there to see."""

import os
import signal

import numpy as np

from tests.programs import bombs, fuzz_runs


def test_a_loader_that_takes_memory_crashes_or_opens_a_bomb_is_seen():
    said, memory = bombs.opened(lambda: np.ones(bombs.MEMORY // 8))
    assert said == "opened"
    assert memory > bombs.MEMORY
    said, _ = bombs.opened(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert said == f"ended with {-signal.SIGKILL}"

    def lines():
        raise ValueError("two\nlines")

    assert bombs.opened(lines)[0].startswith("not one line")


def test_a_few_bombs_and_damaged_runs_are_refused():
    said = []
    assert bombs.run(3, 2, said.append) == 0, said
    assert fuzz_runs.run(20, 1, said.append) == 0, said


def test_another_value_and_another_error_are_seen(tmp_path):
    assert fuzz_runs.outcome(tmp_path, lambda path: {"a": 1}, '{"a": 2}')[1] == "another value"

    def crash(path):
        raise KeyError("x")

    assert fuzz_runs.outcome(tmp_path, crash, None)[1] == "KeyError: 'x'"
