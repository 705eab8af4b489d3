"""The published code's two mistakes, each as a script of NumPy alone that runs."""
