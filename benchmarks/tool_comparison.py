"""Does a taken tool have the parameters of its source? A second reading of the raw files that
shares no code with the importer.

In: the files of one source, and the tools that were taken from them. Out: every difference in names
of parameters, in which are required, in types and enumerations, four levels deep. Files are read by
`json` and PyYAML's text-only loader.
"""
from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPTH = 4
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
CLIENT = ("accept", "content-type", "authorization", "proxy-authorization", "x-api-key", "api-key",
          "x-auth-token", "x-access-token")
TYPES = {"str": "string", "text": "string", "int": "integer", "long": "integer", "float": "number",
         "double": "number", "bool": "boolean", "list": "array", "tuple": "array", "set": "array",
         "dict": "object", "map": "object", "time (24-hour hh:mm)": "string",
         "date (yyyy-mm-dd)": "string", "uuid": "string"} | {
             name: name
             for name in ("string", "integer", "number", "boolean", "array", "object", "null")}
SCHEMAS = ("inputSchema", "input_schema", "parametersJsonSchema", "parameters_json_schema",
           "args_schema")
BY_NAME = ("inputs", "parameter_definitions")


def load(path: Path) -> list[Any]:
    """The values of a file."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() in (".yaml", ".yml"):
        return [yaml.load(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))]
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


class Shapes:
    """What schemas allow, references followed; `files` keeps what was loaded."""

    def __init__(self, root: Any, file: Path | None, openapi: str = ""):
        self.files: dict[Path | None, Any] = {file: root}
        self.openapi = openapi

    def follow(self, reference: str, file: Path | None) -> tuple[Any, Path | None]:
        name, _, pointer = reference.partition("#")
        if name:
            file = (file.parent / name).resolve()
            if file not in self.files:
                self.files[file] = load(file)[0]
        value = self.files[file]
        for step in pointer.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~").replace("%20", " ").replace(
                "%7B", "{").replace("%7D", "}")
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value, file

    def whole(self, value: Any, file: Path | None) -> tuple[Any, Path | None]:
        while isinstance(value, dict) and isinstance(value.get("$ref"), str):
            value, file = self.follow(value["$ref"], file)
        return value, file

    def read_only(self, value: Any, file: Path | None, depth: int = 9) -> bool:
        if not isinstance(value, dict) or not depth or not self.openapi:
            return False
        if str(value.get("readOnly")).lower() == "true":
            return True
        if isinstance(value.get("$ref"), str):
            return self.read_only(*self.follow(value["$ref"], file), depth - 1)
        return any(self.read_only(part, file, depth - 1) for part in value.get("allOf") or [])

    def shape(self, value: Any, file: Path | None, depth: int = DEPTH) -> dict[str, Any]:
        found: dict[str, Any] = {"types": set(), "properties": {}, "required": set(),
                                 "hidden": set(), "enum": set(), "items": None, "choices": 0}
        self.add(value, file, depth, found, ())
        found["required"] -= found["hidden"]
        found["properties"] = {name: child for name, child in found["properties"].items()
                               if name not in found["hidden"]}
        return found

    def add(self, value: Any, file: Path | None, depth: int, found: dict[str, Any],
            seen: tuple[int, ...]) -> None:
        if not isinstance(value, dict) or id(value) in seen:
            return
        seen = (*seen, id(value))
        if isinstance(value.get("$ref"), str):
            self.add(*self.follow(value["$ref"], file), depth, found, seen)
            if self.openapi.startswith(("2", "3.0")):
                return  # before 3.1 what stands beside a reference does not count
        kinds = value.get("type")
        for kind in kinds if isinstance(kinds, list) else [kinds] if kinds is not None else []:
            found["types"].add(TYPES.get(str(kind).lower().removesuffix(", optional").strip(), "?"))
        if isinstance(value.get("enum"), list):
            found["enum"] |= {str(choice).lower() for choice in value["enum"]
                              if choice not in (None, "null")}
        if isinstance(value.get("required"), list):
            found["required"] |= set(value["required"])
        if depth and isinstance(value.get("properties"), dict):
            for name, child in value["properties"].items():
                if self.read_only(child, file):
                    found["hidden"].add(name)
                else:
                    found["properties"].setdefault(name, self.shape(child, file, depth - 1))
        if depth and isinstance(value.get("items"), dict) and not found["items"]:
            found["items"] = self.shape(value["items"], file, depth - 1)
        for part in value.get("allOf") or []:
            self.add(part, file, depth, found, seen)
        for key in ("anyOf", "oneOf"):
            variants = [one for one in value.get(key) or [] if one != {"type": "null"}]
            if len(variants) == 1:
                self.add(variants[0], file, depth, found, seen)
            found["choices"] += len(variants) if len(variants) > 1 else 0


def differences(source: dict[str, Any], tool: dict[str, Any], path: str = "") -> Iterator[str]:
    """What the tool's shape says otherwise than the source's."""
    if source["properties"].keys() != tool["properties"].keys():
        yield (f"{path or 'top'}: parameters {sorted(source['properties'])} -> "
               f"{sorted(tool['properties'])}")
        return
    if source["required"] is not None and source["required"] != tool["required"]:
        yield (f"{path or 'top'}: required {sorted(source['required'])} -> "
               f"{sorted(tool['required'])}")
    if ("?" not in source["types"] and path
            and source["types"] - {"null"} != tool["types"] - {"null"}):
        yield f"{path}: type {source['types']} -> {tool['types']}"
    if source["enum"] != tool["enum"]:
        yield f"{path}: enum {sorted(source['enum'])} -> {sorted(tool['enum'])}"
    if path and source["choices"] != tool["choices"]:
        yield f"{path}: {source['choices']} variants -> {tool['choices']}"
    for name, child in source["properties"].items():
        yield from differences(child, tool["properties"][name], f"{path}.{name}" if path else name)
    if source["items"] and tool["items"]:
        yield from differences(source["items"], tool["items"], f"{path}[]")


def expected(files: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """Shapes of the tools that the files describe, by name; several where a name is there more than
    once."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in files:
        try:
            values = load(file)
        except (ValueError, yaml.YAMLError):
            continue  # the importer refuses such a file
        for value in values:
            for name, shape in _tools(value, file):
                found[str(name)].append(shape)
    return found


def _tools(value: Any, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # `and value`, as "" is in every text
    if isinstance(value, str) and value[:1] in "[{" and value:
        try:
            yield from _tools(json.loads(value), Path("nowhere"))
        except ValueError:
            return
    elif isinstance(value, list):
        for child in value:
            yield from _tools(child, file)
    elif (isinstance(value, dict) and isinstance(value.get("paths"), dict)
          and ("openapi" in value or "swagger" in value)):
        yield from _operations(value, file)
    elif isinstance(value, dict):
        if "required_parameters" in value:
            yield value.get("api_name", value.get("name")), _toolbench(value)
        elif isinstance(value.get("name"), str):
            if (shape := _single(value)) is not None:
                yield value["name"], shape
        for key, child in value.items():
            if isinstance(child, (dict, list)) or key in ("tools", "functions", "Documentation"):
                yield from _tools(child, file)


def _single(value: dict[str, Any]) -> dict[str, Any] | None:
    key = next((key for key in ("parameters", *SCHEMAS, *BY_NAME) if value.get(key)), None)
    parameters = value[key] if key else {}
    if not isinstance(parameters, dict):
        return None
    if (key in BY_NAME or key == "parameters" and not isinstance(parameters.get("type"), str)
            and not isinstance(
            parameters.get("properties"), dict)):
        shape = Shapes(parameters, None).shape({"properties": parameters}, None)
        marks = [spec.get("required") for spec in parameters.values() if isinstance(spec, dict)]
        shape["required"] = (
            {name for name, spec in parameters.items() if spec.get("required") is True}
            if marks and all(isinstance(mark, bool) for mark in marks) else None)
    else:
        shape = Shapes(parameters, None).shape(parameters, None)
    if isinstance(value.get("required"), list) and value["required"]:
        shape["required"] = set(value["required"])
    return shape


def _toolbench(api: dict[str, Any]) -> dict[str, Any]:
    required, optional = ({spec["name"]: {"type": spec.get("type")} for spec in api.get(key) or []}
                          for key in ("required_parameters", "optional_parameters"))
    return Shapes({}, None).shape({"properties": required | optional, "required": list(required)},
                                  None)


def _operations(document: dict[str, Any], file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    version = str(document.get("openapi", document.get("swagger")))
    shapes = Shapes(document, file, version)
    schemes = ((document.get("components") or {}).get("securitySchemes")
               or document.get("securityDefinitions") or {})
    keys = {(str(scheme.get("name")).lower(), scheme.get("in")) for scheme in schemes.values()
            if isinstance(scheme, dict) and scheme.get("type") == "apiKey"}
    for path, item in document["paths"].items():
        try:
            item, at = shapes.whole(item, file)
            for method in set(METHODS) & set(item):
                operation, here = shapes.whole(item[method], at)
                yield (operation.get("operationId", f"{method} {path}"),
                       _operation(shapes, item, at, operation, here, keys))
        except (KeyError, IndexError, ValueError, OSError, TypeError, AttributeError):
            # what leads nowhere is for the importer to refuse; were it taken, it would be missing
            # here
            continue


def _operation(shapes: Shapes, item: dict[str, Any], at: Path, operation: dict[str, Any],
               here: Path, keys: set[tuple[str, Any]]) -> dict[str, Any]:
    declared = {}
    for holder, base in ((item, at), (operation, here)):
        for written in holder.get("parameters") or []:
            parameter, file = shapes.whole(written, base)
            declared[parameter["name"], parameter["in"]] = parameter, file
    body, body_at = _body(shapes, operation, here, declared)
    result = shapes.shape(body, body_at)
    for (name, where), (parameter, file) in declared.items():
        sent = (where in ("cookie", "body") or (name.lower(), where) in keys or where == "header"
                and name.lower() in CLIENT)
        if sent:
            continue
        content = (next(iter(parameter["content"].values())) if parameter.get("content")
                   else parameter)
        schema = content.get("schema",
                             {key: value for key, value in parameter.items() if key != "required"})
        result["properties"].setdefault(name, shapes.shape(schema, file, DEPTH - 1))
        if where == "path" or str(parameter.get("required")).lower() == "true":
            result["required"].add(name)
    return result


def _body(shapes: Shapes, operation: dict[str, Any], here: Path,
          declared: dict[Any, Any]) -> tuple[Any, Path]:
    for (_, where), (parameter, file) in declared.items():
        if where == "body":
            return parameter.get("schema"), file
    if not operation.get("requestBody"):
        return {}, here
    body, at = shapes.whole(operation["requestBody"], here)
    content = body.get("content") or {}
    for words in (("json", "*/*"), ("urlencoded",), ("multipart",)):
        for name, media in content.items():
            if any(word in name.lower() for word in words):
                media, file = shapes.whole(media, at)
                return media.get("schema"), file
    return {}, at
