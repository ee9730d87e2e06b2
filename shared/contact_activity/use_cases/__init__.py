"""Holds what the functions do, in terms of the ports alone."""
