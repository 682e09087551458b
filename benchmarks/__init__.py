"""Benchmarks: each prints what it measured, with the peer beside us in the same run. None asserts a time."""
