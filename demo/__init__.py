"""The whole story on real parts: ``python -m demo``, or ``make demo``, which makes the environment first."""
