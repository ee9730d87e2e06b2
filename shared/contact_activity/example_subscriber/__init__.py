"""An example of a subscriber: a function that keeps a timeline of each contact."""
