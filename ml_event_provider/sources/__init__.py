"""Sources turn a foreign object into an event. Pure: object in, event out. One module a foreign system."""
