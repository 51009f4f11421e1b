"""Does a tool's result report an error? Then the step that led to it is no label (section 4.1).

In: a result as text. Out: the form in which it reports one, or "". What only talks about errors, as a linter's list, an
order whose status is "failed" or a page about HTTP codes does, reports none: so words count at the beginning of a text only,
and fields that may be data count only beside nothing but what an error's envelope holds.

Forms: error_text ("Error: ...", "404 Not Found"), traceback, error (a field that says something), errors, is_error (MCP),
success_false, status_error, http_code.
"""
from __future__ import annotations

import re
from typing import Any

import msgspec

_HINTS = ("error", "exception", "traceback", "fail", "success", '"ok"', "status", "code", "http", "not found", "denied",
          "forbidden", "unauthorized", "bad request", "not allowed", "authenticated", "timeout", "unavailable", "\\u")
"""One of these stands in every result that reports an error; most have none, and decoding takes longer."""
_REASONS = (r"bad request|unauthorized|payment required|forbidden|not found|method not allowed|not acceptable|conflict|gone|"
            r"unprocessable (?:entity|content)|too many requests|internal server error|not implemented|bad gateway|"
            r"service unavailable|(?:request|gateway) time-?out|not authenticated")
_TEXT = re.compile(
    r"(?:an? )?(?:(?:(?-i:[A-Za-z_][\w.]*(?:Error|Exception))|error|exception)(?:\s*:|\s*\(|\s+(?:code\s*:?\s*)?\d+\b|\s+-\s|\s+(?:execut|call|runn|invok|"
    r"fetch|process|pars|access|connect|perform|read|writ|load|gett|occurr|while|during)\w*)"
    r"|(?:tool|api|function|request|command|execution|call)\s+(?:call\s+|execution\s+)?(?:error|failed)\b"
    rf"|(?:http(?:/\d(?:\.\d)?)?\s+)?(?:error\s+)?[45]\d\d\s*[:-]?\s+(?:client error|server error|{_REASONS})\b"
    rf"|(?:{_REASONS})\s*\.?\Z|<(?:tool_use_)?error>|\[error\]|❌\s*error)", re.IGNORECASE)
_NOTHING = re.compile(r"[^:]*:\s*(?:none|null|0|no|no errors?|n/a|false)?\s*\.?\Z", re.IGNORECASE)
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(?:[A-Za-z_][\w.]*)(?::.*)?\s*\Z", re.MULTILINE)
_FINE = {"", "none", "null", "no error", "no errors", "n/a", "ok", "success", "0", "false"}
_ENVELOPE = {"error", "errors", "message", "msg", "reason", "detail", "details", "description", "code", "status", "status_code",
             "statuscode", "http_status", "httpstatus", "success", "ok", "data", "result", "body", "headers", "type", "title",
             "instance", "path", "timestamp", "request_id", "requestid", "trace_id", "traceid", "documentation_url", "help"}
_CODES = ("status", "status_code", "statuscode", "http_status", "httpstatus", "http_code", "httpcode")


def reports_error(result: str) -> bool:
    """Whether a tool's result reports an error."""
    return bool(error_form(result))


def error_form(result: str) -> str:
    """The form in which a result reports an error, "" where it reports none."""
    lowered = result.lower()
    if not any(hint in lowered for hint in _HINTS):
        return ""
    try:
        value = msgspec.json.decode(result)
    except (msgspec.DecodeError, ValueError, RecursionError):
        value = result
    return _form_of(value)


def _form_of(value: Any) -> str:
    if isinstance(value, str):
        return _form_of_text(value.strip())
    if isinstance(value, dict):
        return _form_of_object({str(key).lower(): child for key, child in value.items()})
    if isinstance(value, list) and value:  # MCP's parts, or one result after the other
        forms = [_form_of(item["text"] if _is_text_part(item) else item) if isinstance(item, dict) else "" for item in value]
        return forms[0] if all(forms) else ""
    return ""


def _is_text_part(item: dict[str, Any]) -> bool:
    return item.get("type") == "text" and isinstance(item.get("text"), str)


def _form_of_text(text: str) -> str:
    if "Traceback" in text and _TRACEBACK.search(text):
        return "traceback"
    first = text.partition("\n")[0].strip()
    return "error_text" if _TEXT.match(first) and not (_NOTHING.match(first) and first == text) else ""


def _form_of_object(value: dict[str, Any]) -> str:
    if value.get("iserror") is True or value.get("is_error") is True:
        return "is_error"
    envelope = value.keys() <= _ENVELOPE
    if _says_something(value.get("error"), value) or any(
            isinstance(value.get(key), str) and value[key].strip().lower() not in _FINE
            for key in ("error_message", "errormessage", "error_msg", "exception", "traceback")):
        return "error"
    errors = value.get("errors")
    if isinstance(errors, (list, dict)) and errors and (envelope or isinstance(errors, list) and all(
            isinstance(item, dict) and "message" in item for item in errors) and "data" in value):
        return "errors"
    if any(value.get(key) is False or str(value.get(key)).lower() == "false" for key in ("success", "ok", "successful")):
        return "success_false"
    status = value.get("status")
    if isinstance(status, str) and (status.lower() == "error" or envelope and status.lower() in ("fail", "failed", "failure")):
        return "status_error"
    if envelope and _has_http_code(value):
        return "http_code"
    message = value.get("message", value.get("detail", ""))
    if envelope and isinstance(message, str) and value.keys() <= {"message", "detail", "documentation_url", "code", "type"}:
        return _form_of_text(message.strip())
    return "error" if value.keys() == {"content"} and isinstance(value["content"], list) and _form_of(value["content"]) else ""


def _says_something(error: Any, beside: dict[str, Any]) -> bool:
    """Whether an "error" is one; a number alone may be a measure's."""
    if isinstance(error, str):
        return error.strip().lower() not in _FINE
    if isinstance(error, (int, float)) and not isinstance(error, bool):
        return bool(error) and isinstance(error, int) and bool(beside.keys() & {"message", "msg", "reason", "detail"})
    return bool(error)


def _has_http_code(value: dict[str, Any]) -> bool:
    """Whether a status is an error of HTTP; a plain "code" is one only beside words."""
    keys = (*_CODES, *(("code",) if value.keys() & {"message", "msg", "reason", "detail"} else ()))
    return any(re.fullmatch(r"[45]\d\d", str(value[key])) for key in keys if key in value and not isinstance(value[key], bool))
