"""The plugin's web app under ``/ml-events``: ingest, evaluate, notify, health."""
