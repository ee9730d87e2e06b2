"""Wires and runs the Lambda functions."""
