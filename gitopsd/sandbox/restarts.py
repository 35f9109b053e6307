"""When a container is started again, and how long the node waits first. Pure.

The rules are the kubelet's: the first restart is immediate, the next ones wait 10, 20, 40, 80, 160
and then always 300 seconds after the exit; a container that ran for twice the longest wait starts
over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_BASE = timedelta(seconds=10)
DEFAULT_CAP = timedelta(seconds=300)


class Role(Enum):
    """What a container is to its pod."""

    Init = "Init"
    Sidecar = "Sidecar"
    App = "App"


@dataclass(frozen=True, slots=True)
class BackOffPolicy:
    """How waits grow.

    Attributes:
        base: The first wait.
        cap: The longest wait.
    """

    base: timedelta = DEFAULT_BASE
    cap: timedelta = DEFAULT_CAP


@dataclass(frozen=True, slots=True)
class BackOff:
    """Where one container (or one image reference) stands in its waits.

    Attributes:
        policy: How the waits grow.
        delay: The wait that the next attempt has to respect; zero before the first attempt.
        attempted_at: When the last attempt began.
    """

    policy: BackOffPolicy
    delay: timedelta = timedelta()
    attempted_at: datetime | None = None

    def attempted(self, at: datetime) -> BackOff:
        """The back-off after an attempt that began now."""
        if self.attempted_at is None or self._forgotten(at):
            return BackOff(self.policy, self.policy.base, at)
        return BackOff(self.policy, min(self.delay * 2, self.policy.cap), at)

    def remaining(self, *, failed_at: datetime, now: datetime) -> timedelta:
        """How long an attempt has to wait after the failure at `failed_at`; zero: go on."""
        if self.attempted_at is None or self._forgotten(now):
            return timedelta()
        return max(failed_at + self.delay - now, timedelta())

    def _forgotten(self, now: datetime) -> bool:
        return self.attempted_at is not None and now - self.attempted_at > 2 * self.policy.cap


def should_restart(restart_policy: str, role: Role, exit_code: int) -> bool:
    """Whether a container that ended runs again, by its pod's policy and its role."""
    if role is Role.Sidecar:
        return True
    if restart_policy == "Never":
        return False
    if restart_policy == "OnFailure" or role is Role.Init:
        return exit_code != 0
    return True


def say_duration(duration: timedelta) -> str:
    """A duration as Go writes it, which is how the kubelet says its back-offs: ``1m20s``."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds
