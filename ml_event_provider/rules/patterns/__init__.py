"""Event patterns: Amazon EventBridge's language with a few additions, and all patterns in one index.

Standard library only.
"""
