"""YAML 1.2 by its core schema, as JSON would hold it: NO, on, 12:30 and dates are text, and so is
every key.

In: one document. Out: objects, lists, text, numbers, true, false and null. A key that is there
twice, a second document, and a tag of no JSON value are errors; anchors and merge keys ("<<") are
followed.
"""
from __future__ import annotations

import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

_PREFIX = "tag:yaml.org,2002:"
_SCALAR = re.compile(r"""
    (?P<null>~|null|Null|NULL|)
  | (?P<bool>true|True|TRUE|false|False|FALSE)
  | (?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)
  | (?P<float>[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
      |[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))
  | (?P<merge><<)""", re.VERBOSE)
"""Plain scalars that are no text (YAML 1.2.2, section 10.3.2); ruamel.yaml by itself adds 1_000,
0b11, "=" and dates."""


class _Resolver(VersionedResolver):
    def resolve(self, kind: type, value: Any, implicit: Any) -> Any:
        if kind is not ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)
        found = _SCALAR.fullmatch(value)
        return Tag(suffix=f"{_PREFIX}{found.lastgroup}") if found else self.DEFAULT_SCALAR_TAG


class _Constructor(SafeConstructor):
    """Builds what the core schema has, a key as the text that is written."""

    yaml_constructors = {tag: SafeConstructor.yaml_constructors[tag]
                         for tag in (None, *(f"{_PREFIX}{name}" for name in (
                             "null", "bool", "int", "float", "str", "seq", "map")))}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, MappingNode):
            for key, _ in node.value:
                if isinstance(key, ScalarNode) and key.tag != f"{_PREFIX}merge":
                    key.tag = f"{_PREFIX}str"
        return super().construct_mapping(node, deep)


def read_yaml(content: bytes | str) -> Any:
    """The JSON value of a document; None where it is empty.

    Raises:
        ValueError: as `load_yaml`; or it holds NaN, infinity or a lone surrogate.
    """
    value = load_yaml(content)
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise ValueError(f"not YAML that JSON could hold: {error}") from None
    return value


def load_yaml(content: bytes | str) -> Any:
    """`read_yaml` for a caller that looks for NaN, infinity and lone surrogates itself.

    Raises:
        ValueError: it is no YAML, or holds what JSON has no form for: itself, a key that is a list.
    """
    reader = YAML(typ="safe", pure=True)  # libyaml reads YAML 1.1 and refuses [12:30]
    reader.Resolver, reader.Constructor = _Resolver, _Constructor
    try:
        # through JSON: an anchor's uses become copies, what holds itself an error
        return json.loads(json.dumps(reader.load(content)))
    except RecursionError:
        raise ValueError("not YAML: nested too deeply") from None
    # the last ones by json.dumps, and KeyError by `!!bool x`
    except (YAMLError, KeyError, TypeError, ValueError) as error:
        # ruamel's words end with how a program would allow keys that are there twice
        words = " ".join(str(error).partition("To suppress this check")[0].split())
        raise ValueError(f"not YAML that JSON could hold: {words}") from None
