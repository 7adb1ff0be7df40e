"""What bodies may hold: one strict model per call, and their faults as field paths with words.

The models check form alone. Which tiers there are and how long they may last is asked of the policy, the rest of the world.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from gateway.domain.errors import FieldError
from gateway.web.fields import (
    NAME_PATTERN,
    PATTERN_WORDS,
    PLAN_PATTERN,
    QUANTITY_MAX,
    RESERVATION_PATTERN,
    SEQUENCE_MAX,
    TEXT_CHARS_MAX,
    TEXT_PATTERN,
    shown,
)

LINES_MAX = 1_000
#: Wrong fields that one problem lists; the others are counted in its last entry.
ERRORS_MAX = 100
TTL_SECONDS_MAX = 31 * 86_400

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_CHARS_MAX, pattern=TEXT_PATTERN)]
Count = Annotated[int, Field(ge=0, le=QUANTITY_MAX)]
Sequence = Annotated[int, Field(ge=1, le=SEQUENCE_MAX)]
TtlSeconds = Annotated[int, Field(ge=1, le=TTL_SECONDS_MAX, description="At most the tier's own maximum.")]
PublicId = Annotated[str, StringConstraints(pattern=RESERVATION_PATTERN)]


def _moves(delta: int) -> int:
    if delta == 0:
        raise PydanticCustomError("told", "must not be 0")
    return delta


Delta = Annotated[
    int,
    Field(ge=-QUANTITY_MAX, le=QUANTITY_MAX, description="Not 0.", json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_moves),
]


def _example(body: dict[str, Any]) -> ConfigDict:
    """The document shows this body, of the sample catalogue: a page that makes one up from the patterns shows nonsense."""
    return ConfigDict(json_schema_extra={"examples": [body]})


class Body(BaseModel):
    """A body: no unknown field, no value of another type. Every call works on one shop."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    shop: Name | None = Field(None, description="Default: the query parameter, else the key's shop, else `main`.")


class LineBody(BaseModel):
    """Units wanted of one sku, at one location or wherever they are."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, title="Line")

    sku: Text
    quantity: int = Field(ge=1, le=QUANTITY_MAX)
    location: Name | None = None


class ReserveBody(Body):
    """A hold on all lines, or with `allow_partial` on what there is of each."""

    model_config = _example({"lines": [{"sku": "LANTERN-WHITE", "quantity": 2}], "reference": "cart-17"})

    lines: list[LineBody] = Field(min_length=1, max_length=LINES_MAX)
    tier: Name = "cart"
    ttl_seconds: TtlSeconds | None = None
    reference: Text | None = None
    customer: Text | None = None
    channel: Name | None = None
    locations: list[Name] | None = Field(
        None, min_length=1, max_length=LINES_MAX, description="Only these, in order of preference."
    )
    allow_partial: bool = False


class ExtendBody(Body):
    """A new deadline, counted from now; with `tier` the hold moves to it."""

    tier: Name | None = None
    ttl_seconds: TtlSeconds | None = None


class ConfirmBody(Body):
    """How to make a hold a sale."""

    if_expired: Literal["reject", "reacquire"] = "reject"
    fulfil: bool = False


class FulfilBody(Body):
    """The units left the building; there is nothing to say about it."""


class ReleaseBody(Body):
    """Why the units go back."""

    reason: Text | None = None


class AdjustBody(Body):
    """A movement of `on_hand`."""

    model_config = _example({"delta": -1, "reason": "broken"})

    delta: Delta
    reason: Text
    reference: Text | None = None


class BatchAdjustBody(AdjustBody):
    """A movement of `on_hand` within a batch, which has no path to name the level."""

    model_config = _example({"sku": "LANTERN-WHITE", "location": "main", "delta": -1, "reason": "broken"})

    sku: Text
    location: Name


class PutLevelBody(Body):
    """What a source tells about a level, under its own sequence; what is left out stays as it is."""

    model_config = _example({"source": "erp", "sequence": 1, "on_hand": 50})

    source: Name
    sequence: Sequence
    on_hand: Count | None = None
    deduction: Count | None = None
    safety_stock: int | None = Field(None, ge=-QUANTITY_MAX, le=QUANTITY_MAX)
    reflects: list[PublicId] | None = Field(
        None,
        max_length=LINES_MAX,
        description="Confirmed reservations whose units this `on_hand` no longer contains.",
    )


class PauseBody(Body):
    """Why the sku goes off sale, or comes back."""

    reason: Text | None = None


class QueryBody(Body):
    """The skus to read."""

    model_config = _example({"skus": ["LANTERN-WHITE"]})

    skus: list[Text] = Field(min_length=1, max_length=LINES_MAX)


class Operation(BaseModel):
    """One operation of a batch; its body is that of the single call."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    op: Literal["reserve", "extend", "confirm", "fulfil", "release", "adjust"]
    id: str | None = Field(None, min_length=1, max_length=TEXT_CHARS_MAX, description="For all but reserve and adjust.")
    idempotency_key: str | None = Field(None, description="As the header; adjust needs one.")
    body: dict[str, Any] | None = None


class BatchBody(Body):
    """Up to 1000 operations, each judged as its own call would be."""

    model_config = _example(
        {"operations": [{"op": "reserve", "body": {"lines": [{"sku": "LANTERN-WHITE", "quantity": 2}]}}]}
    )

    operations: list[Any] = Field(min_length=1, max_length=LINES_MAX)


class EmptyBody(Body):
    """Nothing but the shop: the call has no fields of its own, and an unknown one must not pass."""


class RepairBody(Body):
    """What is to be planned or done, and which store is the truth where Redis is ahead of the database."""

    repair: Literal["plan", "apply"] = "plan"
    adopt: Literal["redis", "database"] | None = None
    plan_id: Annotated[str, StringConstraints(pattern=PLAN_PATTERN)] | None = Field(
        None, description="The plan that was shown; needed to apply it."
    )
    reason: Text | None = Field(None, description="Why, for the log; needed to apply a plan.")


M = TypeVar("M", bound=BaseModel)

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "int_parsing_size": "must be an integer",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "string_unicode": "must be a string of whole Unicode characters",
    "string_too_short": PATTERN_WORDS[TEXT_PATTERN],
    "string_too_long": PATTERN_WORDS[TEXT_PATTERN],
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


def check(model: type[M], parsed: object, errors: list[FieldError]) -> M | None:
    """The body as its model; or None, with the wrong fields added to `errors`."""
    try:
        return model.__pydantic_validator__.validate_python(parsed)  # type: ignore[no-any-return]
    except ValidationError as refusal:
        faults = refusal.errors(include_url=False, include_input=False)
        errors.extend(FieldError(_path(fault["loc"]), _words(fault)) for fault in faults[:ERRORS_MAX])
        if len(faults) > ERRORS_MAX:
            errors.append(FieldError("body", f"has {len(faults) - ERRORS_MAX} more errors, not listed here"))
        return None


def _path(steps: tuple[int | str, ...]) -> str:
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{shown(step)}" if path else shown(step)
    return path or "body"


def _words(fault: Any) -> str:
    kind: str = fault["type"]
    if kind in _WORDS:
        return _WORDS[kind]
    context: dict[str, Any] = fault.get("ctx", {})
    match kind:
        case "string_pattern_mismatch":
            return PATTERN_WORDS[context["pattern"]]
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "too_short":
            return f"must have at least {context['min_length']}"
        case "too_long":
            return f"must have at most {context['max_length']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case _:
            message: str = fault["msg"]
            return message
