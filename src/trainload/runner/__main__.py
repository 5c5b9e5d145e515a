"""``python3 runner.pyz MARK``: serve on the standard streams."""

from __future__ import annotations

import sys

from trainload.runner.serve import main

if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.buffer)
