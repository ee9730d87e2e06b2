"""The rules: data and pure functions, without a clock, a network or an environment."""
