"""docs/configuration.md, made from looptool/config.py: every key with its values, its default and
the sentence that stands under it in the code.

    python -m looptool.config_docs > docs/configuration.md
"""
from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from msgspec import inspect as forms

from looptool.config import PRESETS, VERIFY_PRESETS, Config, Part, Section

WIDTH = 100
HEAD = """\
# Configuration

Made from `looptool/config.py` by `python -m looptool.config_docs > docs/configuration.md`; a test
says when it has to be made again.

A run has one YAML file, see `configs/`. An absent key takes its default. An unknown key is an
error that names the nearest known one. Any value can be set for one command:

    bash scripts/11_report.sh --set verify.votes_per_order=2 --set mix.size=64

A stage that has begun refuses other settings than it was begun with. `--fresh` begins it anew.

Keys without a sentence say what they are: sizes, rates and counts of the paper's Table 6, or of
the released scripts.
"""


def sentences(section: type[Section]) -> dict[str, str]:
    """What stands under each key of a section in the code."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return {key.target.id: " ".join(text.value.value.split())
            for key, text in zip(tree.body, tree.body[1:])
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
            and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)}


def values(form: forms.Type) -> str:
    """What a key may hold, in words."""
    match form:
        case forms.Metadata(type=inner):
            return values(inner)
        case forms.BoolType():
            return "`true` or `false`"
        case forms.StrType():
            return "text"
        case forms.LiteralType(values=words):
            return " or ".join(", ".join(f"`{word}`" for word in part)
                               for part in (words[:-1], words[-1:]) if part)
        case forms.IntType(ge=low, le=high):
            return "whole number" + ("" if low is None else f" from {low}") + (
                "" if high is None else f" to {high}")
        case forms.FloatType(ge=low, gt=above, le=high):
            bounds = [f"from {low:g}" if low is not None else "",
                      f"above {above:g}" if above is not None else "",
                      f"to {high:g}" if high is not None else ""]
            return " ".join(["number", *filter(None, bounds)])
        case forms.ListType(item_type=item):
            return f"list of: {values(item)}"
        case forms.TupleType(item_types=items):
            return f"{len(items)} of: {values(items[0])}"
    raise TypeError(f"{form}: say in values() how to write it")


def default(field: forms.Field) -> str:
    """The default as YAML has it."""
    if field.required:
        return "no default"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return f"default `{msgspec.json.encode(value).decode()}`".replace(",", ", ")


def key_lines(name: str, form: str, default: str, text: str) -> str:
    """One key as an item of a list, folded."""
    return textwrap.fill(f"- `{name}` ({form}; {default}){': ' + text if text else ''}", WIDTH,
                         subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def section_lines(section: type[Section], prefix: str) -> Iterator[str]:
    """The heading of a section, what it is, and its keys; then the sections inside it."""
    said = sentences(section)
    inner: list[tuple[type[Section], str]] = []
    yield f"\n## {prefix.rstrip('.') or 'The top of the file'}\n"
    yield textwrap.fill(" ".join(inspect.cleandoc(section.__doc__ or "").split()), WIDTH) + "\n"
    form = forms.type_info(section)
    assert isinstance(form, forms.StructType)
    for field in form.fields:
        name = f"{prefix}{field.name}"
        kind = field.type
        if isinstance(kind, forms.StructType):
            inner.append((kind.cls, f"{name}."))
        elif section.__annotations__[field.name] == "Part":
            yield key_lines(name, "a part of D_j", default(field), said.get(field.name, ""))
        else:
            yield key_lines(name, values(kind), default(field), said.get(field.name, ""))
    for part, place in inner:
        yield from section_lines(part, place)


def preset_lines(key: str, presets: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What each preset sets."""
    for name, keys in presets.items():
        text = ", ".join(f"`{key}: {msgspec.json.encode(value).decode()}`"
                         for key, value in keys.items()) or "the defaults"
        yield textwrap.fill(f"- `{key}: {name}` sets {text}.", WIDTH, subsequent_indent="  ",
                            break_long_words=False, break_on_hyphens=False)


def page() -> str:
    """The whole page."""
    assert len(get_args(Part)) == 3, "say in the last section what a part of D_j is"
    return "\n".join([
        HEAD.rstrip(), *section_lines(Config, ""), "\n## Presets\n",
        "A preset sets some keys of its section. Keys that the file names itself win.\n",
        *preset_lines("train.preset", PRESETS), *preset_lines("verify.preset", VERIFY_PRESETS),
        "\n## A part of D_j\n",
        "A whole number is a count of samples. A number from 0 to 1 is a share of `mix.size`. A",
        "list has one of these for D_2, one for D_3 and so on; the last holds for all later rounds."
    ]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
