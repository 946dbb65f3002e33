"""`python -m jaxmicro` is the command line."""

import sys

from jaxmicro.cli.main import main

sys.exit(main())
