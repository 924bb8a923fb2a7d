"""Runs MiniStack until the input ends, at the latest when the process that started this one ends. Then it ends
MiniStack and the functions that MiniStack has started. It needs a process group of its own.
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
