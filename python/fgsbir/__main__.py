"""``python -m fgsbir``: the same as the ``fgsbir`` command."""

from .cli import main

if __name__ == "__main__":
    main()
