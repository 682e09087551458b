"""Drift: compares current data with reference data, column by column, by means of Great Expectations.

``check`` runs a comparison, ``read_report`` finds one in the result of any checkpoint. Great Expectations,
pandas and NumPy are imported inside functions only.
"""

from ml_event_provider.drift.check import check
from ml_event_provider.drift.report import ColumnDrift, DriftReport, read_report

__all__ = ["ColumnDrift", "DriftReport", "check", "read_report"]
