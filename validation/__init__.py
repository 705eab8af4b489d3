"""What is claimed, shown: each a command, `python -m validation.NAME`, its output kept."""
