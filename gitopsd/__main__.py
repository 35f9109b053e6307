"""``python -m gitopsd`` is ``gitopsd``."""

from gitopsd.cli.app import main

if __name__ == "__main__":
    main()
