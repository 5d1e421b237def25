"""Entry point of ``fgsbir`` and ``python -m fgsbir``."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command line; returns its exit code."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fgsbir"):
            raise
        print(
            f"fgsbir: error: {error.name} is missing; training needs more than the loss does: "
            "pip install 'fgsbir-ext[train]'",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
