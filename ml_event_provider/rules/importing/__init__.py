"""Rules of other systems as rules of ours, with what could not be carried over: nothing is dropped in silence."""
