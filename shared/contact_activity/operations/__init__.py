"""Shows and changes the state of a system, for its operator."""
