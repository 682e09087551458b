"""Airflow hooks over the targets and the ingest endpoint."""
