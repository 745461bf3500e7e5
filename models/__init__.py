"""Online models: River learns, Numba scores."""
