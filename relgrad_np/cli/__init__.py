"""The command line: `main` reads the arguments, one file for each kind of command does the work."""
