"""Former place of `apps.cli`."""

import sys

from veridical.apps.cli import main

if __name__ == "__main__":
    sys.exit(main())
