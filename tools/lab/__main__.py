"""`python -m tools.lab`."""

from tools.lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
