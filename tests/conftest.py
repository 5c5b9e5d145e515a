"""What every test may count on."""

from __future__ import annotations

import signal

# A shell that starts us in the background, or nohup, leaves these ignored, and our children would inherit that:
# tests of interrupts would then test the shell.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
