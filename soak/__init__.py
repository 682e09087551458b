"""A soak that anybody can run: everything goes wrong at once, and what is promised is held against what arrived.

``python -m soak`` (``make soak``). Two runs with the same feed and the same mishaps: one with good targets alone, one
with bad ones among them. In both, dispatchers are killed, frozen and started with wrong clocks, and the database is
restarted. ``judge`` reads the store and the receiver's book and says what does not agree with the promises.
"""
