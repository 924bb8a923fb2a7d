"""Runs MiniStack until the input ends, which it does whenever whoever started this ends; then ends it with the
functions that it has started. It needs a process group of its own.
"""

import os
import signal
import sys
import threading

from ministack import app


def end_with_input():
    sys.stdin.read()
    os.killpg(os.getpid(), signal.SIGKILL)


threading.Thread(target=end_with_input, daemon=True).start()
sys.argv = ["ministack"]
app.main()
