"""Errors that end a command with one line on standard error."""


class RunError(Exception):
    """The command cannot go on. The message is one line: what is wrong, and how to mend it."""


class UsageError(RunError):
    """The options cannot work, however often the command is run."""
