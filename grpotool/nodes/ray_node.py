"""One node's Ray, kept alive by whoever started it: ends with its standard input.

In: RAY_AUTH_MODE for it, the arguments of `ray start`; standard input, which nobody writes to. Out:
Ray's own output, its exit code. A launcher runs this through ssh, srun or `ip netns exec`. When it
closes the pipe, or is killed, or the connection breaks, Ray is ended here, so that no node is left
occupied.
"""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

PATIENCE = 60
"""Seconds that Ray has to end by itself; a killed engine can leave its GPU's memory taken."""


def end(ray: subprocess.Popen[bytes]) -> None:
    """Ask Ray to end, and make it end if it does not."""
    ray.terminate()
    try:
        ray.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(ray.pid, signal.SIGKILL)


def main() -> None:
    authentication, *arguments = sys.argv[1:]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block",
               "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": authentication,
                   "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    ray = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True,
                           env=environment)

    def wait_for_the_end_of_input() -> None:
        while os.read(0, 1024):
            pass
        end(ray)

    def on_signal(*_: object) -> None:  # the main thread is inside of ray.wait(), and sees no end
        threading.Thread(target=end, args=[ray], daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: it outlives its terminal
        signal.signal(signal.SIGHUP, on_signal)
    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    sys.exit(ray.wait())


if __name__ == "__main__":
    main()
