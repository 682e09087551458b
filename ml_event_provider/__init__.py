"""Events, rules and notifications for ML pipelines on Apache Airflow.

The folders follow the flow: ``sources`` turn a foreign object into an event (``events``), ``rules`` match
it, ``messages`` render the notification, ``dispatch`` delivers it to a target (``targets``); ``store`` keeps
everything in Airflow's metadata database.
"""

__version__ = "0.3.0"
