"""How the tests call the command line: in this process, unless the process is what is tested."""

from relgrad_np.cli.main import main

SMALL = ["--epochs", "2", "--layers", "2", "--no-pictures"]
FEW = [*SMALL, "--rows", "300"]  # of a toy


def run(capsys, *arguments):
    """Exit status, stdout, stderr."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def small_arguments(folder):
    """A run of 4 epochs of 20 steps on a toy; the reference takes them, so nothing is compiled."""
    return [
        *("train", "toy:smile", "--rows", "1000", "--batch-size", "50", "--epochs", "4"),
        *(
            "--no-pictures",
            "--layers",
            "2",
            "--seed",
            "1",
            "--rule",
            "plain",
            "--implementation",
            "reference",
        ),
        *("--out", str(folder)),
    ]


def small_run(capsys, folder, *more):
    return run(capsys, *small_arguments(folder), *more)
