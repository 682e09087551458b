"""Listeners: Airflow tells of a state change, we record it or hand it over. One module a kind of change."""
