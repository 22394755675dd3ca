"""SCRAM-SHA-256 keys: the exchange of RFC 7677 section 3 comes out of them, and they survive being written."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.sasl import scram

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
AUTH_MESSAGE = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)


def test_the_example_of_rfc_7677():
    keys = scram.derive(b"pencil", SALT, 4096)
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(keys.stored_key, AUTH_MESSAGE, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == keys.stored_key
    server = hmac.digest(keys.server_key, AUTH_MESSAGE, "sha256")
    assert base64.b64encode(server) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@given(
    st.integers(scram.LEAST_ITERATIONS, scram.MOST_ITERATIONS),
    st.binary(min_size=1, max_size=64),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
def test_written_and_read_again(iterations, salt, stored, server):
    text = scram.encode(scram.Keys(iterations, salt, stored, server))
    assert not set(text) & set(" \n")
    keys = scram.decode(text)
    assert (keys.iterations, keys.salt, keys.stored_key, keys.server_key) == (iterations, salt, stored, server)


GOOD = scram.encode(scram.derive(b"x", b"salt", 4096))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not SCRAM"),
        (GOOD.replace("256", "1", 1), "is not SCRAM"),
        (GOOD.replace("$4096", "$4095"), "4095 iterations"),
        (GOOD.replace("$4096", "$99999999"), "iterations"),
        (GOOD.replace("$4096", "$"), "is not SCRAM"),
        (GOOD.replace("$4096", "$\u0664\u0660\u0669\u0666"), "is not SCRAM"),
        (GOOD + "=", "not base64"),
        (GOOD.replace("c2FsdA==", ""), "wrong length"),
        (GOOD[:-5], "base64|wrong length"),
    ],
    ids=["empty", "other", "few", "many", "none", "digits of others", "padding", "no salt", "cut"],
)
def test_what_is_refused(text, what):
    with pytest.raises(ValueError, match=what):
        scram.decode(text)


@given(st.text())
def test_nothing_but_value_errors(text):
    for candidate in (text, "SCRAM-SHA-256$" + text, GOOD + text):
        try:
            scram.decode(candidate)
        except ValueError:
            pass
