"""Rules, features and schema as data: YAML in, arrays out.

``rules/`` holds what risk operators edit; ``rules/compiler/`` turns it into a
:class:`~fraudstream.rules.bundle.Bundle`, the immutable, content-hashed unit that a worker runs.
Nothing here knows Kafka, clocks or models.
"""
