"""Alembic migrations of the ``ml_event_`` tables."""
