"""A real Apache Kafka for demo, tests and benchmark, without Docker."""
