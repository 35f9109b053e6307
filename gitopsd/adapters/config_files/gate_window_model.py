"""``window:`` of a stage's gates: when runs are let in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)

from gitopsd.adapters.config_files.fields import PositiveDuration, Section, Subject, refuse
from gitopsd.domain.windows import (
    DAY_MINUTES,
    CronWindow,
    Overrun,
    WeeklyWindow,
    Window,
    WindowGate,
)
from gitopsd.pipeline.window_times import is_open, next_change

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = tuple(range(7))
_TIMES = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24:00))", re.ASCII)
_CRON_FIELDS = 5
_SOMETIME = datetime(2028, 1, 1, tzinfo=UTC)
"""A search from here finds whatever opens at all: it is the beginning of a leap year."""

_EXAMPLE = "Write for example `Mon-Fri 08:00-17:00`, `22:00-06:00` or `Sat,Sun`"


def parse_weekly(text: str) -> WeeklyWindow:
    """Read days and times, or one of the two: ``Mon-Fri 08:00-17:00``.

    Raises:
        PydanticCustomError: It is something else.
    """
    parts = text.split()
    times = _TIMES.fullmatch(parts[-1]) if parts else None
    named = parts[:-1] if times is not None else parts
    if len(named) > 1 or not parts:
        raise refuse(f"{text[:60]!r} is no window", _EXAMPLE)
    days = _parse_days(named[0], text) if named else _EVERY_DAY
    if times is None:
        return WeeklyWindow(text, days, 0, DAY_MINUTES)
    hour, minute, end_hour, end_minute, midnight = times.groups()
    start = int(hour) * 60 + int(minute)
    end = DAY_MINUTES if midnight else int(end_hour) * 60 + int(end_minute)
    if start == end:
        raise refuse(
            f"{parts[-1]} is no time at all, or a whole day",
            "Write `00:00-24:00` for a whole day",
        )
    return WeeklyWindow(text, days, start, end)


def _parse_days(named: str, text: str) -> tuple[int, ...]:
    days: set[int] = set()
    for part in named.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _NAMES or (dash and last not in _NAMES):
            raise refuse(
                f"{text[:60]!r} is no window: {part[:20]!r} is no day of the week", _EXAMPLE
            )
        begin = _NAMES.index(first)
        length = (_NAMES.index(last) - begin) % 7 if dash else 0
        days |= {(begin + further) % 7 for further in range(length + 1)}
    return tuple(sorted(days))


def _check_cron(value: str) -> str:
    remedy = "Write the five fields minute, hour, day, month and weekday, such as `0 22 * * 5`"
    if len(value.split()) != _CRON_FIELDS:
        raise refuse(f"{value[:60]!r} is no schedule", remedy)
    try:
        first = next(CronSim(value, _SOMETIME), None)
    except CronSimError as error:
        raise refuse(f"{value[:60]!r} is no schedule: {error}", remedy) from None
    if first is None:
        raise refuse(f"{value[:60]!r} never comes", remedy)
    return value


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise refuse(
            f"there is no time zone {value[:60]!r}", "Write an IANA name such as `Europe/Madrid`"
        ) from None
    return value


def _make_list(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


class WindowEntrySection(Section):
    """A window: days and times as text, or a schedule with a duration."""

    weekly: Annotated[str, AfterValidator(lambda text: parse_weekly(text).text)] | None = Field(
        default=None, description="Days and times, such as Mon-Fri 08:00-17:00"
    )
    cron: Annotated[str, AfterValidator(_check_cron)] | None = Field(
        default=None, description="When it begins", examples=["0 22 * * 5"]
    )
    duration: PositiveDuration | None = Field(default=None, description="How long it lasts")

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: object) -> object:
        return {"weekly": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.cron is None) != (self.duration is None) or (self.cron is None) == (
            self.weekly is None
        ):
            raise refuse(
                "a window is text, or a schedule with its duration",
                'Write `"Mon-Fri 08:00-17:00"`, or `{cron: "0 22 * * 5", duration: 8h}`',
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Let days and times be text alone."""
        mapping: dict[str, Any] = handler.resolve_ref_schema(handler(core))
        text = {"type": "string", "description": "Days and times, such as Mon-Fri 08:00-17:00"}
        return {"anyOf": [text, mapping]}

    def to_domain(self) -> Window:
        """Make the frozen value."""
        if self.cron is not None and self.duration is not None:
            return CronWindow(self.cron, self.duration)
        return parse_weekly(self.weekly or "")


Windows = Annotated[list[WindowEntrySection], BeforeValidator(_make_list)]


class WindowSection(Section):
    """``window:``: runs are let in at certain times."""

    allow: Windows = Field(default=[], description="When runs are let in; nothing: always")
    deny: Windows = Field(default=[], description="When not, whatever is allowed")
    timezone: Annotated[
        str, AfterValidator(_check_zone), WithJsonSchema({"type": "string", "minLength": 1})
    ] = Field(default="UTC", description="Zone whose clock counts", examples=["Europe/Madrid"])
    overrun: Literal["finish", "wait"] = Field(
        default="finish",
        description="What becomes of a run in Prepare when it closes: it goes on, or waits",
    )
    override: list[Subject] = Field(
        default=[], description="Who may skip it; nothing: whoever may skip gates"
    )

    @model_validator(mode="after")
    def _check_opens(self) -> Self:
        if not self.allow and not self.deny:
            raise refuse(
                "it says nothing about time", 'Write `allow: "Mon-Fri 08:00-17:00"` or `deny:`'
            )
        gate = self.to_domain()
        if not is_open(gate, _SOMETIME) and next_change(gate, _SOMETIME) is None:
            raise refuse(
                "the window never opens", "Leave some time in `allow` that `deny` does not cover"
            )
        return self

    def to_domain(self) -> WindowGate:
        """Make the frozen value."""
        return WindowGate(
            allow=tuple(entry.to_domain() for entry in self.allow),
            deny=tuple(entry.to_domain() for entry in self.deny),
            timezone=self.timezone,
            overrun=Overrun[self.overrun.upper()],
            override=tuple(self.override),
        )
