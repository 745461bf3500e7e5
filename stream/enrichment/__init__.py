"""Reference tables: content with a hash, bound to a partition's key, joined to every event of a batch."""
