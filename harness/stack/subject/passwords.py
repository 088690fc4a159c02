"""How a password is kept: scrypt, salted, with its cost written into the hash."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

COST = 2**11
"""scrypt's N. OWASP asks for 2**17 with r=8, p=1; a stand-in that shares two cores with a whole monitoring stack takes
about 5 ms for a log-in instead of 300. The hash says what it was made with, so a higher cost needs no migration."""

BLOCK_SIZE = 8
PARALLEL = 1
LOCKED = "!"
"""The hash of a user who cannot log in, as in shadow(5)."""


async def hash_password(password: str) -> str:
    """A new hash of a password, `scrypt$N$r$p$salt$key`; computed in a thread, which scrypt lets run beside us."""
    salt = secrets.token_bytes(16)
    key = await asyncio.to_thread(_scrypt, password, salt, COST, BLOCK_SIZE, PARALLEL)
    return f"scrypt${COST}${BLOCK_SIZE}${PARALLEL}${salt.hex()}${key.hex()}"


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether this is the password. Takes as long for a user who does not exist (None) as for one who does."""
    try:
        _, cost, block_size, parallel, salt, key = (password_hash or LOCKED).split("$")
    except ValueError:
        await asyncio.to_thread(_scrypt, password, b"nobody", COST, BLOCK_SIZE, PARALLEL)
        return False
    made = await asyncio.to_thread(_scrypt, password, bytes.fromhex(salt), int(cost), int(block_size), int(parallel))
    return hmac.compare_digest(made, bytes.fromhex(key))


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block_size, p=parallel, dklen=32)
