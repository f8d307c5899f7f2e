"""Measurements, each run as ``python -m tests.benchmarks.NAME [--json]``."""
