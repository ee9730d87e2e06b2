"""The rules: data and pure functions, that use no clock, no network and no environment variables."""
