"""python -m ecommerce: see `--help`."""

import sys

if __name__ == "__main__":
    try:
        from ecommerce.commands import main

        sys.exit(main())
    except KeyboardInterrupt:  # while modules are loaded
        sys.exit(130)
