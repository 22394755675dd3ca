"""What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 s3, RFC 7677), as text in the form of RFC 5803."""

import binascii
import hashlib
import hmac

NAME = "SCRAM-SHA-256"
LEAST_ITERATIONS = 4096  # RFC 7677 s4
MOST_ITERATIONS = 10_000_000  # the client's work, once for each log-in
SALT_BYTES = 16
KEY_BYTES = 32


class Keys:
    """`salt` and `iterations` are told to the client; who has the others can check a proof, and could pose as the server."""

    __slots__ = ("iterations", "salt", "server_key", "stored_key")

    def __init__(self, iterations: int, salt: bytes, stored_key: bytes, server_key: bytes) -> None:
        """All in binary."""
        self.iterations = iterations
        self.salt = salt
        self.stored_key = stored_key
        self.server_key = server_key


def derive(password: bytes, salt: bytes, iterations: int) -> Keys:
    """`password`: in UTF-8, prepared (prep.py)."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return Keys(iterations, salt, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))


def encode(keys: Keys) -> str:
    """`SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, the binary parts in base64."""
    salt, stored, server = (
        binascii.b2a_base64(part, newline=False).decode() for part in (keys.salt, keys.stored_key, keys.server_key)
    )
    return f"{NAME}${keys.iterations}:{salt}${stored}:{server}"


def decode(text: str) -> Keys:
    """What encode() made; ValueError, with what is wrong, for anything else."""
    name, _, rest = text.partition("$")
    first, _, second = rest.partition("$")
    iterations, _, salt = first.partition(":")
    stored, _, server = second.partition(":")
    if name != NAME or not iterations.isascii() or not iterations.isdigit() or len(iterations) > 8:
        raise ValueError(f"is not {NAME}$ITERATIONS:SALT$STOREDKEY:SERVERKEY")
    if not LEAST_ITERATIONS <= int(iterations) <= MOST_ITERATIONS:
        raise ValueError(f"has {iterations} iterations, and {LEAST_ITERATIONS} to {MOST_ITERATIONS} are allowed")
    try:
        parts = [binascii.a2b_base64(part, strict_mode=True) for part in (salt, stored, server)]
    except binascii.Error:
        raise ValueError("has a part that is not base64") from None
    if not parts[0] or len(parts[1]) != KEY_BYTES or len(parts[2]) != KEY_BYTES:
        raise ValueError("has a salt or key of a wrong length")
    return Keys(int(iterations), parts[0], parts[1], parts[2])
