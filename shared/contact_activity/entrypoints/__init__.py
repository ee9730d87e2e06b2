"""Wire and run the Lambda functions."""
