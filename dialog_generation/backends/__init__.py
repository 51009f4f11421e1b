"""Executable backends (section 3.1): tools whose results come from code. docs/backends.md shows how
to add one.

Every module of this folder is imported when the first backend is asked for; what it registers is
there.
"""
from dialog_generation.backends.registry import (
    Backend, ToolError, backend_files, backend_tools, register)
from dialog_generation.backends.world import World

__all__ = ["Backend", "ToolError", "World", "backend_files", "backend_tools", "register"]
