"""``python -m aequorea`` is the ``aequorea`` command."""

from aequorea.cli import main

if __name__ == "__main__":
    main()
