"""Measurements of the product as a client sees it: ``python -m benchmarks NAME``."""
