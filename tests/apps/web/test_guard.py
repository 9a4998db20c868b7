"""Who may speak to the web app."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from veridical.apps.web.guard import POLICY, Guard, Message, Receive, Scope, Send

TOKEN, PORT = "the-token-of-this-start", 8123
HOST = f"127.0.0.1:{PORT}"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers all."""
    start: Message = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": b"inside"})


def ask(path: str = "/", method: str = "GET", **headers: str) -> httpx.Response:
    """One request, with the headers as they are written; underscores are hyphens."""
    sent = {"host": HOST} | {key.replace("_", "-"): value for key, value in headers.items()}

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(hello, TOKEN, PORT))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            return await client.request(method, path, headers=sent)

    return asyncio.run(asked())


KNOWN: dict[str, Any] = {"authorization": f"Bearer {TOKEN}"}


def test_without_the_token_nothing_is_answered() -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"veridical-{PORT}=wrong"}):
        found = ask(**headers)
        assert (found.status_code, found.text[:9]) == (401, "This page")


def test_the_printed_address_gives_a_cookie_that_scripts_and_other_sites_do_not_get() -> None:
    found = ask(f"/?token={TOKEN}", sec_fetch_site="cross-site")
    assert found.status_code == 200
    assert 'content="0; url=/"' in found.text
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ask(cookie=cookie.split(";")[0]).text == "inside"
    assert ask("/?token=wrong").status_code == 401
    assert ask(f"/api/about?token={TOKEN}").status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        f"127.0.0.1:{PORT + 1}",
        f"[::1]:{PORT}",
        "",
    ],
)
def test_another_host_is_refused_even_with_the_token(host: str) -> None:
    """As after DNS rebinding."""
    assert ask(**(KNOWN | {"host": host})).status_code == 403


def test_localhost_is_this_machine_too() -> None:
    assert ask(**(KNOWN | {"host": f"localhost:{PORT}"})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://{HOST}", f"http://127.0.0.1:{PORT + 1}"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_origin_is_refused_even_with_the_token(origin: str, method: str) -> None:
    assert ask(method=method, origin=origin, **KNOWN).status_code == 403


def test_its_own_page_may_do_all_and_a_link_elsewhere_may_change_nothing() -> None:
    assert (
        ask(
            method="POST", origin=f"http://{HOST}", sec_fetch_site="same-origin", **KNOWN
        ).status_code
        == 200
    )
    assert ask(method="POST", sec_fetch_site="none", **KNOWN).status_code == 403
    assert ask(sec_fetch_site="cross-site", **KNOWN).status_code == 403
    assert ask(sec_fetch_site="none", **KNOWN).status_code == 200


def test_every_answer_forbids_the_page_to_load_anything_from_elsewhere() -> None:
    for found in (ask(), ask(**KNOWN), ask(f"/?token={TOKEN}"), ask(host="evil.example")):
        assert found.headers["content-security-policy"] == POLICY
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_nothing_but_http_is_answered() -> None:
    """A websocket is closed unanswered."""
    said: list[Message] = []

    async def asked() -> None:
        async def send(message: Message) -> None:
            said.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        await Guard(hello, TOKEN, PORT)({"type": "websocket", "headers": []}, receive, send)

    asyncio.run(asked())
    assert not said
