"""The example DAGs, under the name by which Airflow looks for them: a provider's is that of its distribution.

With ``[core] load_examples``, Airflow's default, Airflow 3.3 and later shows what lies in ``example_dags``.
"""
