"""Read from the Constant Contact API.

`client` makes calls, whatever the version: it has the retries and the deadline. `verdict` judges answers,
`transport` and the `http_…` modules carry them. `v2` and the `v2_…` modules know v2 and nothing else does;
a further version goes beside them.
"""
