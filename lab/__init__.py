"""Real parts for the demo, the tests and the benchmarks: a whole Airflow, PostgreSQL, receivers. Not shipped."""
