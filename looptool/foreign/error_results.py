"""Does a tool's result report an error? Then the step that led to it is no label (section 4.1).

In: a result as text. Out: the form in which it reports one, or "". What only talks about errors, as
a linter's list, an order whose status is "failed" or a page about HTTP codes does, reports none: so
words count at the beginning of a text only, and fields that may be data count only beside nothing
but what an error's envelope holds; success false and status "error" also beside a message.

Forms: error_text ("Error: ...", "404 Not Found"), traceback, error (a field that says something),
errors, is_error (MCP), success_false, status_error, http_code.
"""
from __future__ import annotations

import re
from typing import Any

import msgspec

# "\\u": an escaped letter may hide any of the others
_HINTS = ("error", "exception", "traceback", "fail", "false", "message", "detail", "text", "\\u")
"""One stands in every JSON value that reports an error, or a code of HTTP; most have none, and
decoding takes longer."""
_REASONS = (
    "bad request|unauthorized|payment required|forbidden|not found|method not allowed|"
    "not acceptable|unprocessable (?:entity|content)|too many requests|internal server error|"
    "not implemented|bad gateway|service unavailable|(?:request|gateway) time-?out|"
    "not authenticated")
_DOING = (
    "execut|call|runn|invok|fetch|process|pars|access|connect|perform|read|writ|load|gett|occurr|"
    "while|during")
_TEXT = re.compile(
    r"(?:an? )?(?:(?-i:[A-Za-z_][\w.]*(?:Error|Exception))|error|exception)"
    rf"(?:\s*:|\s*\(|\s+(?:code\s*:?\s*)?\d+\b|\s+-\s|\s+(?:{_DOING})\w*)"
    r"|(?:tool|api|function|request|command|execution|call)\s+(?:call\s+|execution\s+)?"
    r"(?:error|failed)\b"
    r"|(?:http(?:/\d(?:\.\d)?)?\s+)?(?:error\s+)?[45]\d\d\s*[:-]?\s+"
    rf"(?:(?:client error|server error|{_REASONS})\b|(?:conflict|gone)\s*(?:[^\w\s]|\Z))"
    rf"|(?:{_REASONS})\s*\.?\Z|<(?:tool_use_)?error>|\[error\]|❌\s*error", re.IGNORECASE)
_NOTHING = re.compile(r"[^:]*:\s*(?:none|null|0|no|no errors?|n/a|false)?\s*\.?\Z", re.IGNORECASE)
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(?:[A-Za-z_][\w.]*)"
                        r"(?::.*)?\s*\Z", re.MULTILINE)
_HTTP_ERROR = re.compile(r"[45]\d\d")
_FINE = {"", "none", "null", "no error", "no errors", "n/a", "ok", "success", "0", "false"}
_WORDS = {"message", "msg", "reason", "detail"}
_ENVELOPE = {*_WORDS, "error", "errors", "details", "description", "code", "status", "status_code",
             "statuscode", "http_status", "httpstatus", "success", "ok", "data", "result", "body",
             "headers", "type", "title", "instance", "path", "timestamp", "request_id", "requestid",
             "trace_id", "traceid", "documentation_url", "help"}
_MESSAGE = {"message", "detail", "documentation_url", "code", "type"}
_ERROR_TEXTS = {"error_message", "errormessage", "error_msg", "exception", "traceback"}
_SUCCESS = {"success", "ok", "successful"}
_CODES = {"status", "status_code", "statuscode", "http_status", "httpstatus", "http_code",
          "httpcode"}

_KEYS = {"error", "errors", "iserror", "is_error", "content", *_ERROR_TEXTS, *_SUCCESS,
         *_MESSAGE, *_CODES}
"""A result with none of these reports no error."""


def reports_error(result: str) -> bool:
    """Whether a tool's result reports an error."""
    return bool(error_form(result))


def error_form(result: str) -> str:
    """The form in which a result reports an error, "" where it reports none."""
    if not result.lstrip().startswith(("{", "[", '"')):
        return _form_of_text(result.strip())
    if not _may_report(result):
        return ""
    try:
        value = msgspec.json.decode(result)
    except (ValueError, RecursionError):
        # no JSON after all: a text
        value = result
    return _form_of(value)


def _may_report(result: str) -> bool:
    """Whether a JSON value, which is not decoded yet, can report an error."""
    lowered = result.lower()
    for hint in _HINTS:  # a loop, as any() takes twice as long
        if hint in lowered:
            return True
    # in quotes "404 Not Found" is an error too, and has no hint
    return result.lstrip()[0] == '"' or _HTTP_ERROR.search(result) is not None


def _form_of(value: Any) -> str:
    if isinstance(value, str):
        return _form_of_text(value.strip())
    if isinstance(value, dict):
        value = {key.lower(): child for key, child in value.items()}
        return "" if _KEYS.isdisjoint(value) else _form_of_object(value)
    if isinstance(value, list) and value:  # MCP's parts, or one result after the other
        forms = [_form_of(item["text"] if _is_text_part(item) else item) if isinstance(item, dict)
                 else "" for item in value]
        # a list with one good result is a result
        return forms[0] if all(forms) else ""
    return ""


def _is_text_part(item: dict[str, Any]) -> bool:
    return item.get("type") == "text" and isinstance(item.get("text"), str)


def _form_of_text(text: str) -> str:
    if "Traceback" in text and _TRACEBACK.search(text):
        return "traceback"
    first = text.partition("\n")[0].strip()
    # "Error: none" says that there is none, unless more lines follow
    if not _TEXT.match(first) or first == text and _NOTHING.match(first):
        return ""
    return "error_text"


def _form_of_object(value: dict[str, Any]) -> str:
    """The form of an object with keys in small letters."""
    if value.get("iserror") is True or value.get("is_error") is True:
        return "is_error"
    if "error" in value and _says_something(value["error"], value):
        return "error"
    if not _ERROR_TEXTS.isdisjoint(value) and any(
            _is_text(value[key]) for key in _ERROR_TEXTS & value.keys()):
        return "error"
    if _lists_errors(value):
        return "errors"
    envelope = value.keys() <= _ENVELOPE
    said = envelope or not _WORDS.isdisjoint(value)  # a rocket's launch has success and no words
    if said and not _SUCCESS.isdisjoint(value) and any(
            str(value[key]).lower() == "false" for key in _SUCCESS & value.keys()):
        return "success_false"
    status = str(value.get("status")).lower()
    if said and status == "error" or envelope and status in ("fail", "failed", "failure"):
        return "status_error"
    if envelope and _has_http_code(value):
        return "http_code"
    message = value.get("message", value.get("detail"))
    if isinstance(message, str) and value.keys() <= _MESSAGE:
        return _form_of_text(message.strip())
    if value.keys() == {"content"} and isinstance(value["content"], list):
        return _form_of(value["content"])
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() not in _FINE


def _says_something(error: Any, beside: dict[str, Any]) -> bool:
    """Whether an "error" is one; a number alone may be a measure's."""
    if isinstance(error, str):
        return _is_text(error)
    if isinstance(error, (int, float)) and not isinstance(error, bool):
        return error != 0 and isinstance(error, int) and bool(beside.keys() & _WORDS)
    return bool(error)


def _lists_errors(value: dict[str, Any]) -> bool:
    """Whether "errors" are the call's: alone in an envelope, or GraphQL's beside its data."""
    errors = value.get("errors")
    if not errors or not isinstance(errors, (list, dict)):
        return False
    graphql = isinstance(errors, list) and "data" in value and all(
        isinstance(item, dict) and "message" in item for item in errors)
    return graphql or value.keys() <= _ENVELOPE


def _has_http_code(value: dict[str, Any]) -> bool:
    """Whether a status is an error of HTTP; a plain "code" is one only beside words."""
    keys = _CODES & value.keys()
    if "code" in value and not _WORDS.isdisjoint(value):
        keys.add("code")
    return any(_HTTP_ERROR.fullmatch(str(value[key])) for key in keys)
