"""`python -m sidecar` is the console script `sidecar`."""

import sys

from sidecar.cli import main

sys.exit(main())
