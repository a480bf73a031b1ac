"""Which endpoints to try, in which order, and what moves on to the next: pure decisions over facts passed in."""
