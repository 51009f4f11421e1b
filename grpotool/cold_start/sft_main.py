"""`python -m verl.trainer.sft_trainer`, but a process that does not outlive torchrun, which may be
killed.

In: verl's overrides, as verl takes them.
"""
from __future__ import annotations

from verl.trainer.sft_trainer import main

from grpotool.verl_run.process import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    main()
