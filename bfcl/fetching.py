"""HTTP by the standard library, with little patience for a host that does not answer and much for one that thinks."""
from __future__ import annotations

import functools
import http.client
import os
import urllib.request

LONGEST_CONNECT = 10
"""Seconds; a host that drops packets is as good as down."""


def fetch(url: str, body: bytes | None = None, timeout: float = 10) -> bytes:
    """What a server answers, to a POST where there is a body; once reached, it may be silent for `timeout` seconds.

    Raises:
        TimeoutError, OSError, urllib.error.HTTPError, http.client.HTTPException: as they come.
    """
    key = os.environ.get("OPENAI_API_KEY") or "none"
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with _opener().open(urllib.request.Request(url, body, headers), timeout=timeout) as response:
        return response.read()


class _QuickToConnect:
    """Of a connection: `timeout` counts once it stands."""

    def connect(self) -> None:
        patience, self.timeout = self.timeout, min(self.timeout, LONGEST_CONNECT)
        super().connect()
        self.sock.settimeout(patience)


class _Http(_QuickToConnect, http.client.HTTPConnection):
    pass


class _Https(_QuickToConnect, http.client.HTTPSConnection):
    pass


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Http, request)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Https, request)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_HttpHandler, _HttpsHandler)
