"""How a .npy, .npz or .csv file of your own, an array or a DataFrame is read and split.

Read `own` (the entry: the ending of a name decides) and `split`, then the readers: `npy`, `npz`,
`csv`, `frame` (pandas), and `idx`, the format of MNIST. `limits` says what no file may ask for.
"""
