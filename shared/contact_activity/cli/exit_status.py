"""The exit statuses of the commands, and the line that explains a failure."""

import sys

from contact_activity.operations.findings import Fault

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CREDENTIAL, EXIT_QUOTA = range(5)
STATUS_OF_FAULT = {
    Fault.SETTINGS: EXIT_USAGE,
    Fault.CREDENTIAL: EXIT_CREDENTIAL,
    Fault.OTHER: EXIT_FAILED,
    Fault.QUOTA: EXIT_QUOTA,
    Fault.PART: EXIT_FAILED,
}


def fail(status: int, cause: str) -> int:
    """Print the cause on standard error, in one line. Return the exit status."""
    sys.stderr.write(f"contact-activity: {' '.join(cause.split())}\n")
    return status


def warn(text: str) -> None:
    """Print a warning on standard error, in one line."""
    sys.stderr.write(f"contact-activity: warning: {' '.join(text.split())}\n")
