"""``airflow ml-events …``. Commands are defined in ``definition``; each group's work is in a module of its own."""
