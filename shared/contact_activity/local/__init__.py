"""What runs on the operator's machine only; none of it is in the Lambda layer."""
