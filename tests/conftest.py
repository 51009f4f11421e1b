"""What holds for the whole test process, and for all that it starts."""
import os
import signal

os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", "grpotool.cpu.verl_platform")
"""Whichever test imports verl first gets it on the CPU platform."""
# A shell starts background jobs with Ctrl-C ignored, nohup with SIGHUP; both would be inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no worker is left with one when the other is done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
