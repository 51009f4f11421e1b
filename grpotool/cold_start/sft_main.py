"""`python -m verl.trainer.sft_trainer`, but a process that does not outlive torchrun, which may be
killed.

In: verl's overrides, as verl takes them.
"""
from __future__ import annotations

import signal

from verl.trainer.sft_trainer import main

from looptool.command import end_with_parent

if __name__ == "__main__":
    end_with_parent(signal.SIGKILL)
    main()
