"""Before each test the product forgets what it worked out: mutmut then sees every test that needs a function.

A plugin of pytest, for the run under mutmut only.
"""

import sys


def pytest_runtest_setup() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("contact_activity."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
