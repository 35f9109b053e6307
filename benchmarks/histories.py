"""*histories*: random histories of a whole application, every rule after every event.

100,000 histories of two stages, each from its own seed: admission, gates, promotion, quarantine,
freeze and rollback, up to four live runs, at least 2,000,000 events in all, judged by
`history_rules` and `history_stages` after each of them, in under a minute on two cores. Every
event is heard in every state that a run can be in at least 100 times.

That the rules see something is shown by faults: each of twelve, one line changed in one module, is
planted in a copy of that module in another process, where one of the first 10,000 histories has to
break a rule (`planted_faults`).
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from typing import get_args

from benchmarks.figures import Measured, Requirement
from benchmarks.history_player import EVENTS_EACH, Player, make_pasts
from benchmarks.history_rules import BrokenRuleError
from benchmarks.history_world import Situation
from benchmarks.planted_faults import FAULTS, find_faults
from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.pipeline.events import Event
from gitopsd.pipeline.table import positions_of

HISTORIES = 100_000
EVENTS = 2_000_000
HITS = 100
LIMIT_SECONDS = 60.0
FAULT_HISTORIES = 10_000
_CORES = 2
_CHUNK = 10_000
_NEVER_CLOSING = {Step.RENDER, Step.VALIDATE, Step.DIFF, Step.GATE}


@dataclass(frozen=True, slots=True)
class Played:
    """What some histories came to.

    Attributes:
        histories: How many they were.
        events: What their runs were told, in all.
        most_live: Most runs that were live at the same time.
        hits: How often each event was heard in each state.
    """

    histories: int
    events: int
    most_live: int
    hits: Counter[Situation]


class BrokenHistoryError(Exception):
    """A history broke a rule."""


def measure(rounds: int | None = None) -> Measured:
    """Play them all, then find the faults; ``rounds`` is how many thousand histories."""
    histories = rounds * 1000 if rounds is not None else HISTORIES
    begin = time.perf_counter()
    played = play_all(histories)
    seconds = time.perf_counter() - begin
    found = find_faults(FAULT_HISTORIES)
    least, rarest = min((played.hits[one], one) for one in list_situations())
    late = [number for number in found.values() if number is not None]
    details: dict[str, Json] = {
        "histories": played.histories,
        "events": played.events,
        "events_per_second": round(played.events / seconds),
        "most_live_runs": played.most_live,
        "situations": len(list(list_situations())),
        "rarest": " ".join(str(word) for word in rarest),
        "faults_found_in_history": dict(found),
    }
    return Measured(
        "s",
        (seconds,),
        (LIMIT_SECONDS,),
        "the limit",
        further=(
            Requirement("histories", played.histories, HISTORIES),
            Requirement("events", played.events, EVENTS),
            Requirement("hits of each state and event", least, HITS),
            Requirement("faults found", len(late), len(FAULTS)),
        ),
        details=details,
    )


def play_all(histories: int, *, cores: int = _CORES) -> Played:
    """Play histories 0 to ``histories - 1`` on some cores.

    Raises:
        BrokenHistoryError: One of them broke a rule.
    """
    chunks = [range(at, min(at + _CHUNK, histories)) for at in range(0, histories, _CHUNK)]
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(play, chunks))
    hits: Counter[Situation] = Counter()
    for part in parts:
        hits.update(part.hits)
    return Played(
        sum(part.histories for part in parts),
        sum(part.events for part in parts),
        max(part.most_live for part in parts),
        hits,
    )


def play(seeds: range) -> Played:
    """Play the histories of some seeds, one after the other.

    Raises:
        BrokenHistoryError: One of them broke a rule.
    """
    pasts = make_pasts()
    events = most_live = 0
    gc.collect()
    gc.disable()  # all are values without circles; looking for some takes a fifth of the time
    try:
        for seed in seeds:
            player = Player(pasts[seed % len(pasts)].fork(), seed)
            try:
                player.play(EVENTS_EACH)
            except BrokenRuleError as error:
                raise BrokenHistoryError(f"history {seed}: {error}") from error
            events += player.world.events
            most_live = max(most_live, player.most_live)
    finally:
        gc.enable()
    return Played(len(seeds), events, most_live, pasts[0].hits)


def list_situations() -> Iterator[Situation]:
    """List every event in every state that a run can be in: live, closing, or ended."""
    events = [event.__name__ for event in get_args(Event)]
    ended = [phase.value for phase in Phase if phase.terminal]
    for kind in RunKind:
        places = positions_of(kind)
        closing = [at.value for at in places if isinstance(at, Step) and at not in _NEVER_CLOSING]
        for place, event in product([*(at.value for at in places), *ended], events):
            yield kind.value, place, False, event
        for place, event in product(closing, events):
            yield kind.value, place, True, event
