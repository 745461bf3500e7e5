"""The service: Kafka in, decisions out.

The only floor that knows Kafka, Faust, Prometheus, the environment and clocks; everything from
:mod:`~fraudstream.stream.pipeline` down is a pure function of its arguments.
"""
