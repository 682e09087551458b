"""Operators: tasks that publish events or check data. One module a subject."""
