"""A reservation reads the same whether it is rendered from the text of the scripts or from its fields."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.answer import ReservationAnswer, Shortage
from gateway.domain.identifier import ReservationId
from gateway.domain.packed import PackedReservation
from gateway.domain.reservation import LEGAL_MOVES, Line, Reservation
from gateway.web.rendering import reservation_answer

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)
instants = st.integers(1_795_000_000_000, 1_800_000_000_000)
numbers = st.integers(1, 2**53 - 1)
reservations = st.builds(
    Reservation,
    id=st.builds(ReservationId, st.just(0), numbers, numbers, st.just("hegTpBdq2o-UnA_4")),
    state=st.sampled_from(sorted(LEGAL_MOVES)),
    deadline_ms=instants,
    epoch=numbers,
    seq=numbers,
    created_ms=instants,
    confirmed_ms=st.none() | instants,
    ended_ms=st.none() | instants,
    shop=names,
    tier=names,
    reference=texts | st.just(""),
    customer=texts | st.just(""),
    channel=names | st.just(""),
    request=st.just("") | names,
    lines=st.lists(st.builds(Line, texts, names, st.integers(1, 10**9), st.booleans()), min_size=1, max_size=3),
)


@given(reservations, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_rendering_from_text_is_rendering_from_fields(
    told: Reservation, durable: bool, reacquired: bool, has_shortages: bool, is_short: bool
) -> None:
    """Byte for byte the same JSON, whatever the texts hold: quotes, backslashes, separators of other alphabets."""
    shortages = [Shortage('a "b"\\', None, 3, 1, "held", told.deadline_ms)] if is_short else []
    packed = PackedReservation(told.id.shard, told.id.random_part, told.pack())

    from_text, from_fields = (
        reservation_answer(
            ReservationAnswer(each, durable, reacquired=reacquired, shortages=shortages), has_shortages=has_shortages
        )
        for each in (packed, told)
    )

    assert from_text == from_fields
    assert orjson.loads(from_text)["reference"] == (told.reference or None)
    assert (packed.id, packed.public_id, packed.state) == (told.id, told.public_id, told.state)
    assert packed.unpack() == told
