"""Holds the command line, `contact-activity`."""
