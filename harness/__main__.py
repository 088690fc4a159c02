"""`python -m harness` is the command `tocsin`."""

from harness.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
