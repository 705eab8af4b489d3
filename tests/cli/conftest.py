"""A run that has ended, made once; each test has a copy of its own to damage."""

import contextlib
import io
import shutil

import pytest

from relgrad_np.cli.main import main
from relgrad_np.runs import plots

from .commands import small_arguments


@pytest.fixture(scope="session")
def small_run_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(small_arguments(folder)) == 0
    return folder


@pytest.fixture(autouse=True)
def _coarse_pictures(monkeypatch):
    """Pictures of few pixels, which are drawn sooner."""
    monkeypatch.setattr(plots, "DPI", 50)


@pytest.fixture
def finished(small_run_once, tmp_path):
    """The folder of a run that has ended."""
    return shutil.copytree(small_run_once, tmp_path / "run")
