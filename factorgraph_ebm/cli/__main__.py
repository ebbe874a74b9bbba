"""`python -m factorgraph_ebm.cli`."""

import sys

from factorgraph_ebm.cli import main

if __name__ == "__main__":
    sys.exit(main())
