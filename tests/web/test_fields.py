"""The forms of single values: the quick answers are those of the patterns that the OpenAPI document tells."""

from __future__ import annotations

import re
from itertools import product

from gateway.web.fields import TEXT_CHARS_MAX, TEXT_PATTERN, is_text

ASCII = [chr(code) for code in range(128)]


def test_text_of_ascii_is_judged_as_the_pattern_says() -> None:
    """Every text of up to two ASCII characters, and each character within a longer one, is taken where the pattern takes it."""
    pattern = re.compile(TEXT_PATTERN[:-1])
    texts = ["", *ASCII, *("".join(pair) for pair in product(ASCII, repeat=2)), *(f"a{one}b" for one in ASCII)]

    told = {text: is_text(text) for text in texts}

    assert told == {text: pattern.fullmatch(text) is not None for text in texts}


def test_text_of_too_many_characters_is_none() -> None:
    """A text may have 128 characters and no more, ASCII or not."""
    told = [is_text(one * count) for one in "aü" for count in (TEXT_CHARS_MAX, TEXT_CHARS_MAX + 1)]

    assert told == [True, False, True, False]
