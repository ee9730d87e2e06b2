"""Implements the ports on AWS."""
