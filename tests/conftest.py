"""What holds for the whole test process: whichever test imports verl first gets it on the CPU platform."""
import os

os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", "grpotool.cpu.verl_platform")
