"""The only place that speaks to Constant Contact, to AWS or to SQLite."""
