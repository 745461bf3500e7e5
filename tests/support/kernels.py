"""All kernels compiled and cached, as an image does it when it is built."""

from fraudstream.stream.warm import compile_kernels

__all__ = ["compile_kernels"]
