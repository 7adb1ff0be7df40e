"""`/v1/stock/import`: rows of any number; bad ones are told and left out, the others stand."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from gateway.domain.errors import GatewayError
from gateway.web.exchange import Exchange
from gateway.web.fields import NAME_PATTERN, PATTERN_WORDS, SEQUENCE_MAX, integer, is_name
from gateway.web.import_rows import ImportRows
from gateway.web.reading import CONTENT_ENCODING, CONTENT_TYPE, body_pieces, refuse_encoding, require_media
from gateway.web.rendering import to_json
from gateway.web.site import Site
from gateway.web.wire import Answer

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"


async def import_stock(site: Site, exchange: Exchange) -> Answer:
    """Every good row is in the books under the source's sequence; the bad ones are listed."""
    headers = exchange.request.headers
    media = require_media(headers.get(CONTENT_TYPE), (CSV, NDJSON))
    refuse_encoding(headers.get(CONTENT_ENCODING, ""))
    source, sequence = _circumstances(exchange)
    call = exchange.call({})
    if exchange.errors:
        raise exchange.refusal()
    rows = ImportRows(site.limits, sequence, is_csv=media == CSV)
    async with aclosing(body_pieces(exchange, site.limits)) as pieces:
        await rows.open(pieces)
        try:
            async with aclosing(rows.checked(pieces)) as checked:
                counts = await site.services.stock.import_rows(checked, source, call)
        except GatewayError as error:
            if rows.told_count and error.outcome == "not_applied":
                # Rows before this one may be in the books already; the caller repeats the file, which is safe by its sequences.
                error.outcome = "unknown"
            raise
    applied, unchanged, stale, rejected = counts
    listed = sorted(rows.rejected + rejected)[: site.limits.import_rejected_max]
    shape = {
        "applied": applied,
        "unchanged": unchanged,
        "stale": stale,
        "rejected": [{"row": row, "error": error} for row, error in listed],
        "rejected_count": rows.rejected_count + len(rejected),
    }
    return Answer(200, to_json(shape))


def _circumstances(exchange: Exchange) -> tuple[str, int | None]:
    source = exchange.query.get("source")
    if source is None:
        exchange.wrong("source", "is required in the query")
    elif not is_name(source):
        exchange.wrong("source", PATTERN_WORDS[NAME_PATTERN])
    text = exchange.query.get("sequence")
    sequence = None if text is None else integer(text, 1, SEQUENCE_MAX)
    if text is not None and sequence is None:
        exchange.wrong("sequence", f"must be an integer from 1 to {SEQUENCE_MAX}")
    return source or "", sequence
