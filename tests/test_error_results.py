"""Results that report an error, by their form, and results that only talk about errors: a table of
both kinds."""
from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.foreign.error_results import _form_of, error_form, reports_error

TRACEBACK = ('Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    '
             'f()\nValueError: no city')
REPORTS = [
    ("error_text", "Error: city not found"), ("error_text", "error: no such user"),
    ("error_text", "ERROR: timeout"),
    ("error_text", "  Error: x\nsecond line"), ("error_text", "ValueError: no city"),
    ("error_text", "KeyError: 'x'"),
    ("error_text", "requests.exceptions.HTTPError: 404 Client Error"),
    ("error_text", "HTTPException(404)"),
    ("error_text", "Error executing tool get_weather: no city"),
    ("error_text", "Error calling the API"),
    ("error_text", "An error occurred: no city"), ("error_text", "Exception: no city"),
    ("error_text", "Error 404: Not Found"),
    ("error_text", "Error code: 500 - no"), ("error_text", "404 Not Found"),
    ("error_text", "HTTP 500 Internal Server Error"),
    ("error_text", "HTTP/1.1 403 Forbidden"), ("error_text", "HTTP Error 404: Not Found"),
    ("error_text", "Internal Server Error"), ("error_text", "429 Too Many Requests"),
    ("error_text", "Too many requests."), ("error_text", "409 Conflict"),
    ("error_text", "HTTP/1.1 410 Gone"), ("error_text", "409 Conflict: it is there already"),
    ("error_text", "502 Bad Gateway"), ("error_text", '{"message": "Payment required"}'),
    ("error_text", "Request failed with status code 404"),
    ("error_text", "Tool execution failed: no city"),
    ("error_text", "API error: quota"), ("error_text", "Unauthorized"),
    ("error_text", "<tool_use_error>No file</tool_use_error>"),
    ("error_text", '"Error: city not found"'),
    ("error_text", '[{"type": "text", "text": "Error: no city"}]'),
    ("error_text", '{"content": [{"type": "text", "text": "Not found"}]}'),
    ("error_text", '{"message": "Not Found", "documentation_url": "x"}'),
    ("error_text", '{"detail": "Not authenticated"}'),
    ("error_text", '{"message": "Internal server error"}'),
    ("error_text", '{"detail": "Error: no city"}'),
    ("traceback", TRACEBACK), ("traceback", f"step 1\nstep 2\n{TRACEBACK}\n"),
    ("traceback", "Traceback (most recent call last):\n  File \"a\", line 1\nKeyboardInterrupt"),
    ("error", '{"error": "kitchen closed"}'), ("error", '{"error": {"code": 3}}'),
    ("error", '{"error": true}'),
    ("error", '{"Error": "no city"}'), ("error", '{"error": "x", "data": {"a": 1}}'),
    ("error", '{"error": 5, "message": "no"}'),
    ("error", '{"error_message": "no city"}'), ("error", '{"exception": "ValueError"}'),
    ("error", '{"\\u0065rror": "no"}'),
    ("error", '[{"error": "a"}, {"error": "b"}]'),
    ("error_text", '{"content": [{"type": "text", "text": "Error: no city"}]}'),
    ("errors", '{"errors": [{"message": "no city"}]}'),
    ("errors", '{"data": null, "errors": ["no city"]}'),
    ("errors", '{"data": {"a": 1}, "errors": [{"message": "no", "path": ["b"]}]}'),
    ("errors", '{"errors": {"city": ["unknown"]}}'),
    ("is_error", '{"content": [{"type": "text", "text": "no city"}], "isError": true}'),
    ("is_error", '{"is_error": true}'),
    ("success_false", '{"success": false, "reason": "no"}'), ("success_false", '{"ok": false}'),
    ("success_false", '{"success": "false"}'),
    ("status_error", '{"status": "error", "city": "Roma", "message": "no such city"}'),
    ("success_false", '{"success": false, "city": "Roma", "reason": "no such city"}'),
    ("status_error", '{"status": "ERROR"}'), ("status_error",
                                              '{"status": "failed", "message": "no city"}'),
    ("status_error", '{"status": "fail", "data": {"city": "unknown"}}'),
    ("http_code", '{"status": 404}'),
    ("http_code", '{"statusCode": 500, "body": "x"}'),
    ("http_code", '{"code": 404, "message": "no city"}'),
    ("http_code", '{"title": "Not Found", "status": 404, "type": "about:blank"}'),
    ("http_code", '{"status_code": "503"}')]
TALKS = [
    "", "22", "ok", "{}", "[]", "null", '{"temperature": 22}', "Sunny.", "No error.",
    "0 errors found", "Errors: 0", "Error: none",
    "Error: 0", "Error:", "The error rate is 5%.", "Error correction codes repair errors.",
    "Error handling in Python: use try.",
    "Errors and exceptions: an overview", "The server said: Error: city not found",
    "Yesterday's build: Error: x was fixed",
    "404 rooms are not found often", "404", "500 euros", "HTTP 200 OK", "Not Found is a band.",
    "The request failed yesterday.",
    "Conflict", "Gone.", "400 conflict zones are known", "Exceptional weather", "errors.log",
    "terror: a film", "Error messages are listed below:\n1. x",
    f"A user asks:\n{TRACEBACK}\nWhat does it mean?",
    "Traceback (most recent call last): is how Python begins.", '{"error": null}', '{"error": ""}',
    '{"error": false}', '{"error": {}}', '{"error": []}', '{"error": "none"}', '{"error": 0}',
    '{"mean": 3.1, "error": 0.02}', '{"mean": 3, "error": 1}', '{"error_rate": 0.5}',
    '{"errors": []}', '{"errors": 0}',
    '{"file": "a.py", "errors": ["E501 in line 3"], "warnings": []}',
    '{"errors": 3, "checked": 10}', '{"success": true}',
    '{"ok": true}', '{"success": 0.9}', '{"order": 7, "status": "failed"}', '{"status": "ok"}',
    '{"status": 200}',
    '{"url": "x", "status_code": 404}', '{"code": 404, "name": "Oslo"}', '{"code": 404}',
    '{"status": "open", "priority": "high"}',
    '{"message": "Your order was not found to be late."}', '{"message": "ok"}',
    '{"isError": false, "content": []}',
    '[{"error": "a"}, {"temperature": 3}]', '[{"type": "text", "text": "No error."}]',
    '"Errors happen."', "true",
    '{"title": "Error: a novel", "author": "X"}', '{"results": [{"error": "old ticket"}]}',
    '{"status": 450, "seats": 3}',
    '{"flight_number": 1, "name": "FalconSat", "success": false}',
    '{"service": "db", "status": "error", "uptime": 3}', '{"test": "login", "ok": false}',
    '{"answer": "Error: is what it prints"}', '{"detail": "Founded in 404"}']


@pytest.mark.parametrize("form, result", REPORTS)
def test_results_that_report_an_error(form: str, result: str):
    assert error_form(result) == form and reports_error(result)


@pytest.mark.parametrize("result", TALKS)
def test_results_that_talk_about_errors_or_about_something_else(result: str):
    assert error_form(result) == "" and not reports_error(result)


WORDS = st.sampled_from(["error", "ERRORS", "isError", "status", "code", "message", "detail", "ok",
                         "success", "content", "type", "text", "data", "exception", "failed", "404",
                         "503", "false", "Not found", "Error: no", "a", ""])
VALUES = st.recursive(WORDS | st.sampled_from([404, 200, 0, True, False, None, 1.5]), lambda inner:
                      st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4))


@settings(deadline=None, max_examples=500)
@given(VALUES)
def test_what_is_not_decoded_reports_no_error(value):
    assert error_form(json.dumps(value)) == _form_of(value)


@settings(deadline=None)
@given(st.text() | st.lists(st.sampled_from(["Error", ": ", "404 ",
                                             "Traceback (most recent call last):\n", "  File\n",
                                             '{"', '"}',
                                             "status", "error", "\ud800",
                                             "[" * 2000])).map("".join))
def test_any_result_is_told(result: str):
    assert isinstance(error_form(result), str)


@pytest.mark.parametrize("piece", ["error ", "Traceback (most recent call last):\n",
                                   "Traceback (most recent call last):\n  File\n",
                                   "a.", "Error", " ", "[{"])
def test_time_is_linear(piece: str):
    begun = time.process_time()
    error_form(piece * (100_000 // len(piece)))
    assert time.process_time() - begun < 1
