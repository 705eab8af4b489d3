"""The laws of an invertible density model, a file each: what must hold, within which error."""
