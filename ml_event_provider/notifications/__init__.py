"""Notifiers and actions: what other tools call when something happened. One module a tool."""
