"""Backtests: features computed once and kept, rules run over them again."""
