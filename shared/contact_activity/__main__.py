"""`python -m contact_activity` is the command line."""

import sys

from contact_activity.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
