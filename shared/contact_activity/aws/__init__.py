"""Implement the ports on AWS."""
