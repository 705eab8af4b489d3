"""The step on a CUDA device: `step` launches, `sources` holds the CUDA C."""
