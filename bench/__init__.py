"""Benchmark harness and the one generator of synthetic bank traffic."""
