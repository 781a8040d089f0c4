"""`python -m bridge.healthy`: the old name of `python -m bridge.healthcheck`.

It is in the compose files of people who run a version before 0.1.0. Remove it in the release after
0.1.0.
"""

import sys

from bridge.healthcheck import main

if __name__ == "__main__":
    sys.exit(main())
