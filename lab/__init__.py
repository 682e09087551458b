"""Real parts for demo, tests and benchmarks: Airflow, MLflow, PostgreSQL, receivers. Not shipped."""
