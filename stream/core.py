"""The version of the scoring code.

Raised whenever any byte of any decision may change for the same input, bundle and models. It is
journaled: a worker with another core refuses to continue a partition that was not stopped cleanly.
"""

CORE = "1"
