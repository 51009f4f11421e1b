"""HTTP with little patience for a host that does not answer and much for one that thinks."""
from __future__ import annotations

import functools
import os

import httpx2

LONGEST_CONNECT = 10
"""Seconds; a host that drops packets is as good as down."""


def fetch(url: str, body: bytes | None = None, timeout: float = 10) -> bytes:
    """What a server answers, to a POST where there is a body; once reached, it may be silent for
    `timeout` seconds. May be called from many threads.

    Raises:
        httpx2.HTTPStatusError: it refuses; with its words.
        httpx2.HTTPError: any other failure, ReadTimeout where it was silent for too long.
    """
    key = os.environ.get("OPENAI_API_KEY") or "none"
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    response = _client().request("GET" if body is None else "POST", url, content=body,
                                 headers=headers,
                                 timeout=httpx2.Timeout(timeout, connect=LONGEST_CONNECT))
    return response.raise_for_status().content


@functools.cache
def _client() -> httpx2.Client:
    """One for all, as reading the certificates takes 20 ms. It keeps no connection: a server that
    was started again would answer on none of them."""
    return httpx2.Client(limits=httpx2.Limits(max_keepalive_connections=0), timeout=None)
