"""Record a session as a person has it, in a terminal of 80 columns; docs/session.md is made of it.

`python tests/programs/session.py docs/session.md` types the commands below into tmux, as a person
does, waits for what they print, presses Ctrl-C in the middle of a fit, and writes what stands on
the screen. Times are made neutral; everything else is as it was. It needs tmux, rich, tqdm,
pandas, matplotlib and scikit-learn, and takes about two minutes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0  # seconds until a command must have come to its end
MAKE = """
import numpy as np
from sklearn.datasets import load_breast_cancer
found = load_breast_cancer(as_frame=True)
table = found.frame.drop(columns="target").iloc[:, :10]
table["diagnosis"] = np.where(found.target, "benign", "malignant")
table.iloc[:500].to_csv("tumours.csv", index=False)
table.iloc[500:].drop(columns="diagnosis").to_csv("new.csv")
"""
TEXT = """# A session

A table of your own, from the first command to the pictures. `python tests/programs/session.py docs/session.md` recorded
this in a terminal of 80 columns, and replaced times by fixed ones. The table is scikit-learn's breast cancer set: ten
mean measurements of 500 tumours and their diagnosis. The other 69 tumours are in a second file.
"""
PICTURES = (
    ("columns", "Held-out rows (blue) over samples of the model (orange), the columns that fit worst"),
    ("calibration", "The latents, the log-likelihoods and the correlations of the latents"),
)  # fmt: skip
NEUTRAL = (
    (r"\[\d\d:\d\d<(\d\d:\d\d|\?)", "[00:04<00:00"),
    (r"\d+\.\d s of(\s)fitting", r"4.0 s of\1fitting"),
    (r"about \d+ s\b", "about 4 s"),
)


class Terminal:
    """A shell in tmux: what is typed, and what stands on the screen."""

    def __init__(self, folder: Path, columns: int) -> None:
        self.name = f"session-{os.getpid()}"
        bin_ = folder / ".bin"
        bin_.mkdir()
        command = bin_ / "relgrad-np"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m relgrad_np "$@"\n')
        command.chmod(0o755)
        lines = (f'export PATH="{bin_}:$PATH" PYTHONPATH="{ROOT}"', "PS1='$ '", "")
        (bin_ / "rc").write_text("\n".join(lines))
        shell = f"bash --noprofile --rcfile {bin_ / 'rc'}"
        size = ["-x", str(columns), "-y", "400"]
        self.tmux("new-session", "-d", *size, "-c", str(folder), shell)
        self.wait(lambda screen: screen.rstrip().endswith("$"))

    def tmux(self, *arguments: str) -> str:
        """Return what tmux prints."""
        command = ["tmux", "-L", self.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def screen(self) -> str:
        """Return what stands on the screen."""
        return self.tmux("capture-pane", "-p").rstrip()

    def wait(self, until: Callable[[str], bool]) -> None:
        """Wait until the screen is so; TimeoutError if it never is."""
        start = time.monotonic()
        while not until(self.screen()):
            if time.monotonic() - start > PATIENCE:
                raise TimeoutError(f"the screen has not become as expected:\n{self.screen()}")
            time.sleep(0.05)

    def type(self, line: str, stop_at: str | None = None) -> str:
        """Type a line, press Ctrl-C where `stop_at` appears, and return what was printed."""
        self.tmux("send-keys", "clear", "Enter")
        self.wait(lambda screen: screen == "$")
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")
        if stop_at is not None:
            self.wait(lambda screen: re.search(stop_at, screen) is not None)
            self.tmux("send-keys", "C-c")
        self.wait(lambda screen: screen.endswith("\n$"))
        if "command not found" in self.screen():
            raise FileNotFoundError(self.screen())
        return "\n".join(line.rstrip() for line in self.screen().splitlines()[:-1])

    def close(self) -> None:
        """End the shell."""
        self.tmux("kill-server")


SESSION: tuple[tuple[str, tuple[tuple[str, str | None], ...]], ...] = (
    (
        "A look into the table. A column without numbers is refused, and the message names the flag that leaves it out.",
        (("head -3 tumours.csv | cut -c 1-75", None), ("relgrad-np train tumours.csv", None)),
    ),
    (
        "A fit, and Ctrl-C in the middle of it.",
        (("relgrad-np train tumours.csv --drop diagnosis", r"[1-9]\d%\|"),),
    ),
    (
        "The model of an unfinished run can be used. Then the fit continues where it was stopped.",
        (
            ("relgrad-np evaluate runs/tumours", None),
            ("relgrad-np train --resume --out runs/tumours", None),
        ),
    ),
    (
        "It ended because validation did not improve any more. A run can continue beyond its end.",
        (("relgrad-np train --resume --out runs/tumours --epochs 450 --patience none", None),),
    ),
    (
        "A second file, which has an index column that the model does not know. Each row gets a score.",
        (
            ("relgrad-np evaluate runs/tumours new.csv --scores scores.csv", None),
            ("head -3 scores.csv", None),
        ),
    ),
    (
        "New rows, and the files of the run.",
        (
            ("relgrad-np sample runs/tumours -n 1000 --out more.csv", None),
            ("head -3 more.csv | cut -c 1-75", None),
            ("ls runs/tumours", None),
        ),
    ),
)  # fmt: skip


def record(columns: int) -> tuple[str, dict[str, bytes]]:
    """Return the text of the session, and its pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True)
        terminal = Terminal(folder, columns)
        parts = [TEXT]
        try:
            for words, lines in SESSION:
                printed = "\n".join(terminal.type(*line) for line in lines)
                parts.append(f"{words}\n\n{textwrap.indent(neutral(printed), '    ')}\n")
        finally:
            terminal.close()
        pictures = {key: (folder / f"runs/tumours/{key}.png").read_bytes() for key, _ in PICTURES}
    parts.append("The pictures:\n")
    parts += [f"![{words}](session-{key}.png)\n" for key, words in PICTURES]
    return "\n".join(parts), pictures


def neutral(text: str) -> str:
    """Return a text without times that differ from run to run.

    >>> neutral("123.4 s of fitting")
    '4.0 s of fitting'
    """
    for pattern, instead in NEUTRAL:
        text = re.sub(pattern, instead, text)
    return text


def main() -> None:
    """Record the session into a file, and its pictures beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--columns", type=int, default=80)
    options = parser.parse_args()
    if shutil.which("tmux") is None:
        sys.exit("it needs tmux")
    text, pictures = record(options.columns)
    options.page.write_text(text)
    for key, data in pictures.items():
        options.page.with_name(f"session-{key}.png").write_bytes(data)


if __name__ == "__main__":
    main()
