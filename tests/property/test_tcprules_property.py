"""Rules under any text, any file and any peer."""

from hypothesis import example, given
from hypothesis import strategies as st

from quail.cdb.maker import Maker
from quail.cdb.reader import Reader
from quail.errors import TemporaryError
from quail.net import tcprules
from quail.net.tcprules import RuleError, Rules, compile_rules

pieces = st.sampled_from(
    [
        b"1",
        b"255",
        b"999",
        b".",
        b"-",
        b":",
        b"::",
        b"=",
        b"@",
        b"allow",
        b"deny",
        b",",
        b"X=",
        b'"',
        b"\n",
        b" ",
        b"#",
        b"\xff",
    ]
)
texts = st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=25).map(b"".join))


@given(texts)
def test_any_text_is_compiled_or_refused_with_its_line(text):
    lines = text.split(b"\n")
    refused = None
    try:
        data = compile_rules(text, "rules")
    except RuleError as error:
        refused = error
    if refused is not None:
        assert lines[refused.line - 1].rstrip(b" \t") == refused.text
        assert str(refused).startswith(f"rules line {refused.line}: ")
    else:
        assert compile_rules(text, "rules", lenient=True) == data
        rules = [line for line in lines if line.strip(b" \t") and not line.startswith(b"#")]
        assert len(list(Reader(data).items())) <= 256 * len(rules)


# An independent account of the order, from the manual page: for each form, the addresses it matches.
def wanted(known, ip, host, info):
    forms = []
    if info is not None:
        forms.append([info + b"@" + ip])
        forms.append([info + b"@=" + host] if host is not None else [])
    forms.append([ip])
    forms.append([b"=" + host] if host is not None else [])
    forms.append(sorted((k for k in known if k.endswith((b".", b":")) and ip.startswith(k)), key=len, reverse=True))
    if host is not None:
        forms.append(sorted((k for k in known if k.startswith(b"=.") and host.endswith(k[1:])), key=len, reverse=True))
        forms.append([b"="])
    forms.append([b""])
    return next((key for form in forms for key in form if key in known), None)


labels = st.sampled_from([b"a", b"b", b"c"])
ips = st.lists(st.sampled_from([b"1", b"2", b"12"]), min_size=4, max_size=4).map(b".".join) | st.sampled_from(
    [b"2001:db8::1", b"2001:db8:1::2", b"::1", b"fe80::1"]
)
hosts = st.lists(labels, min_size=1, max_size=4).map(b".".join)
infos = st.sampled_from([b"i", b"j"])
rules = st.one_of(
    ips,
    st.just(b""),
    st.just(b"="),
    hosts.map(b"=".__add__),
    hosts.map(b"=.".__add__),
    st.lists(st.sampled_from([b"1", b"2", b"12"]), min_size=1, max_size=3).map(lambda parts: b".".join(parts) + b"."),
    st.sampled_from([b"2001:", b"2001:db8:", b"2001:db8::", b":", b"::", b"fe80:"]),
    st.builds(lambda info, ip: info + b"@" + ip, infos, ips),
    st.builds(lambda info, host: info + b"@=" + host, infos, hosts),
)


@given(st.lists(rules, max_size=25), ips, st.none() | hosts, st.none() | infos, st.booleans())
def test_the_first_form_with_a_rule_decides(tmp_path_factory, known, ip, host, info, at_need):
    path = tmp_path_factory.getbasetemp() / "property.cdb"
    maker = Maker()
    for number, rule in enumerate(known):
        maker.add(rule, b"+N=%d\0" % number)
    path.write_bytes(maker.to_bytes())
    before, tcprules._FILES_IN_MEMORY = tcprules._FILES_IN_MEMORY, 0 if at_need else 1 << 18
    try:
        decision = Rules(str(path)).decide(ip, host, info)
    finally:
        tcprules._FILES_IN_MEMORY = before
    rule = wanted(known, ip, host, info)
    assert decision.rule == rule
    assert decision.environment == (() if rule is None else ((b"N", b"%d" % known.index(rule)),))


@given(st.binary(max_size=200), st.integers(0, 2300), st.booleans())
@example(b"", 0, False)
def test_any_file_gives_a_decision_or_a_temporary_error(tmp_path_factory, damage, where, at_need):
    path = tmp_path_factory.getbasetemp() / "damaged.cdb"
    data = compile_rules(b'1.2.3.4:deny\n1.2.:allow,A="1"\n=.b.c:allow\n:allow,RELAYCLIENT=""\n', "rules")
    path.write_bytes(data[:where] + damage + data[where + len(damage) :])
    before, tcprules._FILES_IN_MEMORY = tcprules._FILES_IN_MEMORY, 0 if at_need else 1 << 18
    try:
        Rules(str(path)).decide(b"1.2.3.4", b"a.b.c", b"i")
    except TemporaryError:
        pass
    finally:
        tcprules._FILES_IN_MEMORY = before
