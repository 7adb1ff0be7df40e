"""The quick proof that no key stands twice, against the slow reader."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import FieldError
from gateway.web.json_text import RepeatedKey, parse

#: Names and texts that look like the marks which the proof counts.
WORDS = st.sampled_from(["a", "b", 'a":', '":', ":", '"', "\\", '\\":', " ", "é", '{"a":1}'])


def written(pairs: list[tuple[str, Any]], gap: str) -> str:
    """An object as text, repeated keys and all."""
    return "{" + ",".join(f"{json.dumps(name)}{gap}:{gap}{text}" for name, text in pairs) + "}"


OBJECTS = st.recursive(
    WORDS.map(json.dumps) | st.just("1"),
    lambda inner: (
        st.builds(written, st.lists(st.tuples(WORDS, inner), max_size=4), st.sampled_from(["", " ", "\n\t"]))
        | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
    ),
    max_leaves=12,
)


def has_twice(text: str) -> bool:
    """Whether some object of the text has a key twice, by counting pairs."""
    found = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len(pairs) != len({name for name, _ in pairs}))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(found)


@given(OBJECTS)
def test_parse_finds_a_repeated_key_exactly_where_there_is_one(text: str) -> None:
    """Whatever stands in strings and between tokens, the quick proof agrees with the slow reader."""
    errors: list[FieldError] = []

    parsed = parse(text.encode(), errors)

    assert bool(errors) == has_twice(text)
    assert parsed == json.loads(text)


def test_parse_names_repeated_keys_by_their_paths() -> None:
    """Every object of the text is looked at, and told by its path."""
    errors: list[FieldError] = []

    parse(b'{"x":[{"y":{"z":1,"z":2}},{"w":1,"w":1}],"x":[{"y":{"z":1,"z":2}},{"w":1,"w":1}]}', errors)

    assert sorted(error.field for error in errors) == ["x", "x[0].y.z", "x[1].w"]


def test_parse_tells_where_the_object_of_a_repeated_key_stands() -> None:
    """By steps, not by text: a client's name may look like any path."""
    errors: list[FieldError] = []

    parse(b'{"x[0].y":1,"x[0].y":1,"x":[{"y":1,"y":1}]}', errors)

    assert [(error.field, error.place) for error in errors if isinstance(error, RepeatedKey)] == [
        ("x[0].y", ()),
        ("x[0].y", ("x", 0)),
    ]
