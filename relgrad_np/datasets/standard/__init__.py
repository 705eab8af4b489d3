"""The data sets that the literature reports, from the files in which they are published."""
