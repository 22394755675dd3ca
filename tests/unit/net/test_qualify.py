"""What a name may stand for."""

import pytest

from quail.net.qualify import candidates, rules


@pytest.mark.parametrize(
    ("name", "lines", "found"),
    [
        (b"www", [b"?:+.a.example+.b.example"], [b"www.a.example", b"www.b.example"]),
        (b"www", [b"?:.a.example"], [b"www.a.example"]),
        (b"www.x", [b"?:.a.example"], [b"www.x"]),
        (b"[1.2.3.4]", [b"?:.a.example"], [b"[1.2.3.4]"]),
        (b"www.", [b"?:.a.example", b"*.:"], [b"www"]),
        (b"host.OLD", [b"*.old:.new"], [b"host.new"]),
        (b"me", [b"=me:127.0.0.1"], [b"127.0.0.1"]),
        (b"home.me", [b"=me:127.0.0.1"], [b"home.me"]),
        (b"a.gone", [b"-.gone:here.example"], [b"here.example"]),
        (b"a", [b"=a:b", b"=b:c"], [b"c"]),
        (b"a", [b"nonsense", b"?nocolon"], [b"a"]),
    ],
)
def test_rules(name, lines, found):
    assert candidates(name, lines) == found


def test_where_rules_come_from(tmp_path):
    path = tmp_path / "rewrite"
    path.write_bytes(b"# ours\n = me : 127.0.0.1 \n\n")
    assert rules({b"DNSREWRITEFILE": bytes(path)}, b"host") == [b"=me:127.0.0.1"]
    missing = {b"DNSREWRITEFILE": b"/nonexistent"}
    assert rules({**missing, b"LOCALDOMAIN": b"a.example b.example"}, b"host") == [b"?:.a.example+.b.example", b"*.:"]
    assert rules({**missing, b"LOCALDOMAIN": b""}, b"host.c.example") == [b"?:.c.example", b"*.:"]
    assert rules({**missing, b"LOCALDOMAIN": b""}, b"host") == [b"*.:"]
