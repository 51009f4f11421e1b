"""Domain "file system": folders and text files that exist in memory only; no path leads out of
"/"."""
from __future__ import annotations

import posixpath
import random
from datetime import date
from typing import Annotated, Any

from msgspec import Meta

from dialog_generation.backends.registry import Backend, ToolError, register

Path = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=5_000)]
MOST_ENTRIES, LONGEST_FILE = 500, 20_000
FOLDERS = ("/documents", "/documents/work", "/documents/taxes", "/photos", "/projects",
           "/projects/garden", "/backup")
NAMES = ("notes", "budget", "todo", "letter", "report", "recipes", "inventory", "ideas", "contract",
         "guests")
SENTENCES = ("Call the landlord.", "Order 20 bags of soil.", "Total so far: 412.50.",
             "Draft, not yet checked.", "Ask Mira about the key.", "Due on Friday.",
             "See the version from March.", "Nothing is decided yet.")


@register("file system")
class Files(Backend):
    """A small home folder."""

    def __init__(self, rng: random.Random, today: date):
        self._folders = {"/", *rng.sample(FOLDERS, 4)}
        self._folders |= {posixpath.dirname(folder) for folder in self._folders}
        self._files: dict[str, str] = {}
        for name in rng.sample(NAMES, 6):
            # sorted: a set of texts has another order in each process
            path = posixpath.join(rng.choice(sorted(self._folders)),
                                  name + rng.choice((".txt", ".md", ".csv")))
            self._files[path] = "\n".join(rng.sample(SENTENCES, rng.randint(1, 4))) + "\n"

    def facts(self) -> dict[str, Any]:
        return {"files": sorted(self._files), "folders": sorted(self._folders)}

    def list_folder(self, folder: Path = "/") -> dict[str, Any]:
        """List the files and folders that stand directly in a folder.

        Args:
            folder: Path of the folder
        """
        folder = self._folder(folder)
        inside = [path for path in (*self._folders, *self._files)
                  if path != "/" and posixpath.dirname(path) == folder]
        return {"folder": folder, "entries": sorted(
            posixpath.basename(path) + ("/" if path in self._folders else "") for path in inside)}

    def read_text_file(self, path: Path) -> dict[str, Any]:
        """Read a text file as a whole.

        Args:
            path: Path of the file
        """
        path = self._file(path)
        return {"path": path, "content": self._files[path]}

    def write_text_file(self, path: Path, content: Text, append: bool = False) -> dict[str, Any]:
        """Write text to a file, which is made if it is absent; its folder must exist.

        Args:
            path: Path of the file
            content: Text to write
            append: Add to the end instead of replacing what is there
        """
        path = self._new_place(path, replace=True)
        whole = (self._files.get(path, "") if append else "") + content
        if len(whole) > LONGEST_FILE:
            raise ToolError(f"{path}: would be longer than {LONGEST_FILE} characters")
        self._files[path] = whole
        return {"path": path, "characters": len(whole)}

    def make_folder(self, path: Path) -> dict[str, Any]:
        """Make a new folder in one that exists.

        Args:
            path: Path of the new folder
        """
        path = self._new_place(path)
        self._folders.add(path)
        return {"path": path}

    def rename_path(self, source: Path, target: Path) -> dict[str, Any]:
        """Move or rename a file or folder; nothing is overwritten.

        Args:
            source: Path as it is now
            target: Path as it shall be
        """
        source = self._existing(source)
        target = self._new_place(target)
        if source == "/" or target.startswith(source + "/"):
            raise ToolError(f"{source}: cannot be moved into itself")
        moved = {path: target + path[len(source):] for path in (*self._folders, *self._files)
                 if path == source or path.startswith(source + "/")}
        self._folders = {moved.get(path, path) for path in self._folders}
        self._files = {moved.get(path, path): content for path, content in self._files.items()}
        return {"source": source, "target": target, "moved": len(moved)}

    def delete_path(self, path: Path, with_content: bool = False) -> dict[str, Any]:
        """Delete a file, or a folder.

        Args:
            path: Path of the file or folder
            with_content: Delete a folder that is not empty, with all that is in it
        """
        path = self._existing(path)
        gone = {entry for entry in (*self._folders, *self._files)
                if entry == path or entry.startswith(path + "/")}
        if path == "/":
            raise ToolError("/: cannot be deleted")
        if len(gone) > 1 and not with_content:
            raise ToolError(f"{path}: folder is not empty")
        self._folders -= gone
        self._files = {entry: content for entry, content in self._files.items()
                       if entry not in gone}
        return {"path": path, "deleted": len(gone)}

    def search_file_text(self, text: Annotated[str, Meta(min_length=1, max_length=100)],
                         folder: Path = "/") -> dict[str, Any]:
        """Find the lines that hold a text, upper and lower case alike, in all files below a folder.

        Args:
            text: Text to look for
            folder: Where to look
        """
        below = self._folder(folder).rstrip("/") + "/"
        hits = [{"path": path, "line": number, "text": line}
                for path, content in sorted(self._files.items()) if path.startswith(below)
                for number, line in enumerate(content.splitlines(), 1)
                if text.lower() in line.lower()]
        return {"matches": len(hits), "first": hits[:10]}

    def _existing(self, path: str) -> str:
        path = _absolute(path)
        if path not in self._folders and path not in self._files:
            raise ToolError(f"{path}: no such file or folder")
        return path

    def _file(self, path: str) -> str:
        path = self._existing(path)
        if path in self._folders:
            raise ToolError(f"{path}: is a folder")
        return path

    def _folder(self, path: str) -> str:
        path = self._existing(path)
        if path in self._files:
            raise ToolError(f"{path}: is a file")
        return path

    def _new_place(self, path: str, replace: bool = False) -> str:
        """A path that may be written; with `replace` a file may be there."""
        path = _absolute(path)
        self._folder(posixpath.dirname(path))
        if path in self._folders or path in self._files and not replace:
            raise ToolError(f"{path}: exists already")
        if path not in self._files and len(self._files) + len(self._folders) >= MOST_ENTRIES:
            raise ToolError("the disk is full")
        return path


def _absolute(path: str) -> str:
    """The path from "/", with "." and ".." worked out; ".." at the root stays there."""
    return posixpath.normpath("/" + path.strip().lstrip("/"))
