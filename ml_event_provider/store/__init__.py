"""The store: our tables in Airflow's metadata database, and the spool beside it. Only here is SQL."""
