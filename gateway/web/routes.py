"""The whole URL table."""

from __future__ import annotations

from typing import Final

from gateway.domain import errors as e
from gateway.metrics import CONTENT_TYPE as METRICS
from gateway.web import batch, bodies, docs, operations, reservations, shapes, stock, stock_import
from gateway.web.auth import OPS, RESERVE, STOCK_READ, STOCK_WRITE
from gateway.web.import_rows import RowBody
from gateway.web.parameters import (
    DEADLINE,
    IF_MATCH,
    IMPORT,
    KEY,
    KEY_NEEDED,
    PAGES,
    READS,
    SEARCH,
    WRITES,
)
from gateway.web.route import Route
from gateway.web.stock_import import CSV, NDJSON

# Which errors a call may answer beside those that any call may (see openapi.py): from below, by reads, by writes, by moves.
BELOW = (e.HotStoreUnavailable, e.ShardRecovering, e.ShardHalted, e.DurableStoreUnavailable)
WRITTEN = (*BELOW, e.DurabilityUnknown)
KNOWN = (*BELOW, e.ReservationNotFound, e.ReservationLost)
MOVED = (*WRITTEN, e.ReservationNotFound, e.ReservationLost)
SKU = (*BELOW, e.SkuNotFound)
LEVEL = (*WRITTEN, e.SkuNotFound, e.VersionConflict)

ROUTES: Final = (
    Route("POST", "/v1/reservations", reservations.reserve, "reserve", "Hold units until a deadline",
          {201: shapes.Reservation}, RESERVE, bodies.ReserveBody, query=WRITES, headers=(KEY, DEADLINE),
          errors=(*WRITTEN, e.OutOfStock, e.UnknownSku, e.IdempotencyKeyReused), begin=reservations.begin_reserve),
    Route("GET", "/v1/reservations", reservations.search, "searchReservations", "Find reservations",
          {200: shapes.ReservationPage}, RESERVE, query=SEARCH, headers=(DEADLINE,), errors=BELOW),
    Route("GET", "/v1/reservations/{id}", reservations.read, "readReservation", "Read a reservation",
          {200: shapes.StoredReservation}, RESERVE, query=READS, headers=(DEADLINE,), errors=KNOWN),
    Route("DELETE", "/v1/reservations/{id}", reservations.release, "deleteReservation", "Give the units back",
          {200: shapes.StoredReservation}, RESERVE, bodies.ReleaseBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*MOVED, e.ReservationFulfilled),
          begin=reservations.begin_release),
    Route("POST", "/v1/reservations/{id}/extend", reservations.extend, "extend", "Move the deadline of a live hold",
          {200: shapes.StoredReservation}, RESERVE, bodies.ExtendBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*MOVED, e.ReservationConfirmed, e.ReservationFulfilled, e.ReservationReleased,
                                       e.ReservationExpired, e.ExtensionLimit)),
    Route("POST", "/v1/reservations/{id}/confirm", reservations.confirm, "confirm", "Make a hold a sale",
          {200: shapes.Reservation}, RESERVE, bodies.ConfirmBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*MOVED, e.ReservationReleased, e.ReservationExpired, e.OutOfStock),
          begin=reservations.begin_confirm),
    Route("POST", "/v1/reservations/{id}/fulfil", reservations.fulfil, "fulfil", "The units left the building",
          {200: shapes.StoredReservation}, RESERVE, bodies.FulfilBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*MOVED, e.ReservationNotConfirmed, e.ReservationReleased, e.ReservationExpired),
          begin=reservations.begin_fulfil),
    Route("POST", "/v1/reservations/{id}/release", reservations.release, "release", "Give the units back",
          {200: shapes.StoredReservation}, RESERVE, bodies.ReleaseBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*MOVED, e.ReservationFulfilled)),
    Route("POST", "/v1/batch", batch.batch, "batch", "Many operations in one call",
          {200: shapes.BatchResults}, RESERVE, bodies.BatchBody, query=WRITES, headers=(DEADLINE,), errors=WRITTEN),
    Route("GET", "/v1/stock", stock.catalogue, "listStock", "The catalogue, page by page",
          {200: shapes.StockPage}, STOCK_READ, query=PAGES, headers=(DEADLINE,), errors=BELOW),
    Route("POST", "/v1/stock/query", stock.query, "queryStock", "Read many skus",
          {200: shapes.StockFound}, STOCK_READ, bodies.QueryBody, query=READS, headers=(DEADLINE,), errors=BELOW),
    Route("POST", "/v1/stock/import", stock_import.import_stock, "importStock", "Set many levels from a stream of rows",
          {200: shapes.ImportResult}, STOCK_WRITE, rows={NDJSON: RowBody, CSV: RowBody}, query=IMPORT,
          headers=(DEADLINE,), errors=(*WRITTEN, e.UnsupportedMediaType, e.RequestTimeout)),
    Route("GET", "/v1/stock/{sku}", stock.read, "readStock", "Read a sku",
          {200: shapes.Stock}, STOCK_READ, query=READS, headers=(DEADLINE,), errors=SKU, begin=stock.begin_read),
    Route("PUT", "/v1/stock/{sku}/{location}", stock.put_level, "putLevel", "Tell what a source knows of a level",
          {200: shapes.WrittenLevel}, STOCK_WRITE, bodies.PutLevelBody, query=WRITES, headers=(IF_MATCH, DEADLINE),
          errors=(*LEVEL, e.StaleSequence)),
    Route("POST", "/v1/stock/{sku}/{location}/adjust", stock.adjust, "adjust", "Move on_hand",
          {200: shapes.WrittenLevel}, STOCK_WRITE, bodies.AdjustBody, query=WRITES,
          headers=(KEY_NEEDED, IF_MATCH, DEADLINE),
          errors=(*LEVEL, e.IdempotencyKeyRequired, e.IdempotencyKeyReused, e.InsufficientOnHand)),
    Route("POST", "/v1/stock/{sku}/pause", stock.pause, "pause", "Take a sku off sale",
          {200: shapes.Stock}, STOCK_WRITE, bodies.PauseBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*WRITTEN, e.SkuNotFound)),
    Route("POST", "/v1/stock/{sku}/resume", stock.resume, "resume", "Put a sku back on sale",
          {200: shapes.Stock}, STOCK_WRITE, bodies.PauseBody, is_body_optional=True, query=WRITES,
          headers=(DEADLINE,), errors=(*WRITTEN, e.SkuNotFound)),
    Route("GET", "/v1/admin/policy", operations.policy, "policy", "The policy in force",
          {200: shapes.PolicyInForce}, OPS, query=READS),
    Route("POST", "/v1/admin/reload", operations.reload, "reload", "Read the configuration again",
          {200: shapes.PolicyInForce}, OPS, bodies.EmptyBody, is_body_optional=True, query=READS),
    Route("GET", "/v1/admin/conservation", operations.conservation, "conservation", "Check that nothing was lost",
          {200: shapes.Conservation}, OPS, query=READS, errors=BELOW),
    Route("GET", "/v1/admin/shards", operations.shards, "shards", "The state of the shards",
          {200: shapes.Shards}, OPS, query=READS, errors=(e.DurableStoreUnavailable,)),
    Route("POST", "/v1/admin/repair", operations.repair, "repair", "Plan or make a repair",
          {200: shapes.Repair}, OPS, bodies.RepairBody, is_body_optional=True, query=READS, errors=BELOW),
    Route("GET", "/healthz", operations.healthz, "healthz", "Whether the process lives", {200: shapes.Health}),
    Route("GET", "/readyz", operations.readyz, "readyz", "Whether it can do its work",
          {200: shapes.Readiness, 503: shapes.Readiness}),
    Route("GET", "/metrics", operations.metrics_text, "metrics", "Metrics for Prometheus", {200: METRICS}),
    Route("GET", "/openapi.json", operations.openapi, "openapi", "This document", {200: "application/json"}),
    Route("GET", "/docs", docs.page, "docs", "This document as a page", {200: docs.HTML}),
    Route("GET", "/docs/errors", docs.errors, "docsErrors", "What each error code means", {200: docs.HTML}),
    Route("GET", "/docs/{file}", docs.asset, "docsFile", "A file of the pages", {200: "text/css"}, errors=(e.NotFound,)),
)  # fmt: skip
