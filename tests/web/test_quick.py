"""The quick judgement of a reserve never takes what the models refuse, reads what they read, and takes what checkouts send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.errors import FieldError, GatewayError
from gateway.web.bodies import ReserveBody, check
from gateway.web.json_text import parse
from gateway.web.quick import QuickReserve, quick_reserve

FIELDS = ("shop", "tier", "ttl_seconds", "reference", "customer", "channel", "locations", "allow_partial")

texts = st.one_of(
    st.sampled_from(["A", "85123A", "a b", " a", "a ", "", "ü", "a:b", "x" * 128, "x" * 129, "a\x7f"]),
    st.text(max_size=5),
)
names = st.one_of(st.sampled_from(["main", "berlin-2", "-x", "", "a" * 64, "a" * 65, "ü"]), st.text(max_size=3))
numbers = st.one_of(st.sampled_from([0, 1, -1, 10**9, 10**9 + 1, 2**63, 1.0, 1e2, True, "1", None]), st.integers(1, 99))
maybe_lines = st.fixed_dictionaries(
    {"sku": texts, "quantity": numbers}, optional={"location": st.one_of(st.none(), names), "x": texts}
)
bodies = st.fixed_dictionaries(
    {"lines": st.lists(maybe_lines, max_size=3)},
    optional={
        "shop": st.one_of(st.none(), names),
        "tier": names,
        "ttl_seconds": numbers,
        "reference": texts,
        "customer": texts,
        "channel": names,
        "locations": st.one_of(st.none(), st.lists(names, max_size=2)),
        "allow_partial": st.one_of(st.booleans(), numbers),
        "unknown": numbers,
    },
)


def judged(raw: bytes) -> ReserveBody | None:
    """What the models say."""
    errors: list[FieldError] = []
    try:
        body = check(ReserveBody, parse(raw, errors), errors)
    except GatewayError:
        return None
    return None if errors else body


def told(body: ReserveBody | QuickReserve) -> dict[str, Any]:
    """The fields of either kind of body."""
    shown = {name: getattr(body, name) for name in FIELDS}
    return shown | {"lines": [(line.sku, line.quantity, line.location) for line in body.lines]}


@given(bodies, st.booleans())
@example({"lines": [{"sku": "A", "quantity": 1}]}, False)
def test_quick_agrees_with_the_models(body: dict[str, Any], is_ascii: bool) -> None:
    """Whatever the quick one takes, the models take, too, and both read the same."""
    raw = json.dumps(body, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")

    quick = quick_reserve(raw)

    if quick is not None:
        slow = judged(raw)
        assert slow is not None
        assert told(quick) == told(slow)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"lines":[{"sku":"A","quantity":1}]}',
        b' {"lines": [ {"sku": "A", "quantity": 1}, {"sku": "B:1", "quantity": 20, "location": "main"} ] }\n',
        b'{"lines":[{"sku":"\xc3\xbc","quantity":1}],"tier":"checkout","ttl_seconds":60,"reference":"cart-17","customer":"c 9"}',
        b'{"lines":[{"sku":"A","quantity":1}],"shop":"de","channel":"web","locations":["a","b"],"allow_partial":true}',
    ],
)
def test_quick_takes_what_checkouts_send(raw: bytes) -> None:
    """The short way is taken, and reads what the models read."""
    quick, slow = quick_reserve(raw), judged(raw)

    assert quick is not None
    assert slow is not None
    assert told(quick) == told(slow)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"lines":[{"sku":"A","quantity":1,"quantity":2}]}',
        b'{"lines":[{"sku":"A","quantity":1}],"lines":[{"sku":"A","quantity":1}]}',
        b'{"lines":[{"sku":"A","quantity":1,"quantity":2}],"reference":"\\u003a"}',
        b'{"lines":[{"sku":"A","quantity":1}],"tier":"cart","tier":"cart"}',
        b'{"lines":[{"sku":"A\xff","quantity":1}]}',
        b'{"lines":[{"sku":"\xed\xa0\x80","quantity":1}]}',
        b'\xef\xbb\xbf{"lines":[{"sku":"A","quantity":1}]}',
        b'{"lines":[{"sku":"A","quantity":1}]} {}',
        b"[" * 5000,
        b"",
    ],
)
def test_quick_says_nothing_where_something_may_be_wrong(raw: bytes) -> None:
    """Keys given twice, also behind a colon that an escape hides; and bytes that are no JSON in UTF-8."""
    assert quick_reserve(raw) is None
