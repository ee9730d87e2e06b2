"""What every store shares: the stored formats, and the limiter."""
