"""``trainload`` and ``python -m trainload``."""

from __future__ import annotations

import signal


def main() -> None:
    """The console script. Until the verbs have a handler of their own, Ctrl-C ends the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is done yet, so nothing is to be taken back
    from trainload.cli.main import main as verbs

    verbs()


if __name__ == "__main__":
    main()
