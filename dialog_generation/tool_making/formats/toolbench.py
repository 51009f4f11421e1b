"""ToolBench: APIs of its query files and of its tool folders.

In: a query, {"api_list": [{"category_name", "tool_name", "api_name", "required_parameters", ...}],
"query": ...}; a file of a tool folder, {"tool_name", "api_list": [{"name", ...}]}; or one API of a
query. Out: one tool an API, named by the API alone, of the domain of its category.

A default of a required parameter is an example value in ToolBench; it is kept as the schema's
default.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dialog_generation.tool_making.formats.entry import Entry, Origin, PassedOver, beside
from looptool.calling.type_names import quote
from looptool.foreign.unread_keys import count_unread

_TYPES: dict[str, dict[str, Any]] = {
    "DATE (YYYY-MM-DD)": {"type": "string", "format": "date"},
    "TIME (24-hour HH:MM)": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
    "UUID": {"type": "string", "format": "uuid"},
    "MAP": {"type": "object"}}
"""Types of ToolBench alone whose meaning is certain; ENUM, FILE, BINARY, GEOPOINT and CREDENTIALS
have none in JSON."""
_READ = ("name", "description", "api_name", "api_description", "category_name",
         "required_parameters", "optional_parameters")
_KEPT = ("type", "description", "default", "enum")
# of an answer that was once given
_KNOWN = ("body", "headers", "return_data", "schema", "template_response", "statuscode")
_COMPANIONS = ("relevant APIs", "answer_generation", "final_answer", "win")


def claims(value: Any) -> bool:
    return isinstance(value, dict) and (isinstance(value.get("api_list"), list) or
                                        "api_name" in value and "required_parameters" in value)


def entries(place: str, value: Any, origin: Origin | None,
            passed_over: PassedOver) -> Iterator[Entry]:
    if "api_list" not in value:
        yield Entry(place, value, _tool)
        return
    for index, api in enumerate(value["api_list"]):
        yield Entry(f"{place}.api_list[{index}]", api, _tool)
    others = {key: other for key, other in value.items() if key != "api_list"}
    yield from beside(place, others, _COMPANIONS, passed_over)


def _tool(api: Any, passed_over: PassedOver) -> dict[str, Any]:
    """One API in xLAM style, each parameter marked as required or not."""
    if not isinstance(api, dict):
        raise ValueError(f"an API is a JSON object, not {quote(api)}")
    count_unread(api, _READ, _KNOWN, passed_over)
    parameters: dict[str, Any] = {}
    for key, required in (("required_parameters", True), ("optional_parameters", False)):
        specs = api.get(key) or []
        if not isinstance(specs, list):
            raise ValueError(f'"{key}" must be a list, not {quote(specs)}')
        for spec in specs:
            name, parameter = _parameter(spec, required, passed_over)
            if name in parameters:
                raise ValueError(f"parameter {name!r} is there twice")
            parameters[name] = parameter
    description = api.get("api_description", api.get("description"))
    return {"name": api.get("api_name", api.get("name")), "domain": api.get("category_name"),
            "parameters": parameters, "description": description.strip()
            if isinstance(description, str) else description}


def _parameter(spec: Any, required: bool, passed_over: PassedOver) -> tuple[str, dict[str, Any]]:
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise ValueError(f"a parameter is a JSON object with a name, not {quote(spec)}")
    count_unread(spec, ("name", *_KEPT), (), passed_over)
    kept = {key: spec[key] for key in _KEPT if spec.get(key) is not None}
    written = kept.get("type")
    return spec["name"], kept | {"required": required} | (_TYPES.get(written, {})
                                                          if isinstance(written, str) else {})
