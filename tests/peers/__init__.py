"""Strict local receivers that answer as the real ones do, for tests, the demo and benchmarks."""
