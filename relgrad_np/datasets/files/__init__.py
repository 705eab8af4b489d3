"""Files of your own: .npy, .npz, .csv; IDX files of images."""
