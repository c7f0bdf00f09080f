"""Passwords: which are accepted, and what a scrape each second and a flood of guesses cost."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import bcrypt
import pytest
import pytest_asyncio

from exporter.web.auth import PasswordChecker
from tests.web.serving import HASH, SECRET, Served, served, write_config

OTHER_HASH = bcrypt.hashpw(b"other", bcrypt.gensalt(4))


def basic(user: str, password: str, scheme: str = "Basic") -> str:
    return f"Authorization: {scheme} " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Checks:
    """Stands for bcrypt: knows ``SECRET``, counts, and takes a second of a clock of its own each time."""

    def __init__(self) -> None:
        self.users = {"alice": HASH.encode()}
        self.seen: list[bytes] = []
        self.now = 0.0
        self.rested: list[float] = []
        self.passwords = PasswordChecker(check=self.check, clock=lambda: self.now, sleep=self.rest)

    def check(self, password: bytes, hashed: bytes) -> bool:
        self.seen.append(hashed)
        self.now += 1.0
        return password == SECRET.encode() and hashed == self.users.get("alice")

    async def rest(self, seconds: float) -> None:
        self.rested.append(seconds)
        await asyncio.sleep(0)

    async def right(self, user: str, password: str) -> bool:
        return await self.passwords.verify(self.users, user, password.encode())


@pytest_asyncio.fixture
async def checks() -> AsyncIterator[Checks]:
    checks = Checks()
    yield checks
    checks.passwords.close()


async def test_a_scraper_costs_one_check_until_its_hash_changes(checks: Checks) -> None:
    assert [await checks.right("alice", SECRET) for _ in range(20)] == [True] * 20
    checks.users["alice"] = OTHER_HASH
    await checks.right("alice", SECRET)
    assert checks.seen == [HASH.encode(), OTHER_HASH]


async def test_bcrypt_looks_at_72_bytes_and_a_longer_password_is_never_right() -> None:
    exact = "x" * 72
    passwords, users = PasswordChecker(), {"alice": bcrypt.hashpw(exact.encode(), bcrypt.gensalt(4))}
    assert await passwords.verify(users, "alice", exact.encode())
    assert not await passwords.verify(users, "alice", f"{exact}y".encode())
    assert not await passwords.verify(users, "alice", b"\0" * 100)
    passwords.close()


async def test_an_unknown_user_takes_as_long_as_a_known_one(checks: Checks) -> None:
    assert not await checks.right("nobody", SECRET)
    assert checks.seen == [HASH.encode()]
    assert checks.rested == [3.0]


# ---- Over HTTP ----


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(
        write_config(tmp_path, f"basic_auth_users: {{alice: {HASH}, bob: {OTHER_HASH.decode()}}}")
    ) as server:
        yield server


@pytest.mark.parametrize("header", [basic("alice", SECRET), basic("alice", SECRET, "bAsIc"), basic("bob", "other")])
async def test_a_right_password_is_accepted(server: Served, header: str) -> None:
    assert (await server.get("/metrics", header)).status == 200
    assert not server.errors


@pytest.mark.parametrize(
    "header",
    [
        "X-Nothing: here", basic("alice", "wrong"), basic("nobody", SECRET), basic("bob", SECRET),
        basic("alice", SECRET, "Bearer"), f"Authorization: Basic alice:{SECRET}", "Authorization: Basic",
        "Authorization: Basic YWxpY2U=", "Authorization: Basic /w==", "Authorization: Basic " + "A" * 4000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/metrics", "/nothing/here"])
async def test_anything_else_gets_401_and_a_challenge(server: Served, header: str, path: str) -> None:
    answer = await server.get(path, header)
    assert (answer.status, answer.body) == (401, b"Unauthorized\n")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    message = await server.reason("unauthorized")
    assert "alice" not in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200), ("/%68ealthz", 200), ("/healthz/", 401), ("/healthz/../metrics", 401), ("//healthz", 401),
        ("/metrics?/healthz", 401), ("/healthz%2f..%2fmetrics", 401),
    ],
)  # fmt: skip
async def test_only_probes_are_open(server: Served, path: str, status: int) -> None:
    assert (await server.get(path)).status == status


async def test_too_many_guesses_are_refused_and_a_known_scraper_is_not(server: Served) -> None:
    assert (await server.get("/metrics", basic("alice", SECRET))).status == 200
    guesses = [server.get("/metrics", basic("alice", f"guess {number}")) for number in range(60)]
    known = [server.get("/metrics", basic("alice", SECRET)) for _ in range(20)]
    answers = await asyncio.gather(*guesses, *known)
    assert {answer.status for answer in answers[:60]} == {401, 429}
    assert {answer.status for answer in answers[60:]} == {200}
    assert server.reasons["unauthorized"] + server.reasons["password_queue_full"] == 60


async def test_a_rate_is_kept_but_not_for_probes(tmp_path: Path) -> None:
    async with served(write_config(tmp_path, "rate_limit: {interval: 1h, burst: 3}")) as server:
        statuses = [(await server.get()).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert (await server.get("/healthz")).status == 200
        assert await server.reason("rate_limited", 2)
