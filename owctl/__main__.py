"""``python -m owctl`` is ``owctl``."""

from owctl.cli import main

if __name__ == "__main__":
    main()
