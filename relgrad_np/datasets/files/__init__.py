"""How a file of your own, an array or a DataFrame is read and split.

Read `reading` (what can be asked for) and `own` (the entry: the ending of a name decides), then
`split` and `missing`. The readers are `text`, which stands on `dialect` and `cells`, `arrow`
(.parquet, .feather), `containers` (.h5, .mat), `npy`, `npz`, `frame` (pandas, polars) and `idx`,
the format of MNIST. `choice` picks columns. `copied` lays out what is too large for memory.
`limits` says what no file may ask for.
"""
