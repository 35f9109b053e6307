"""Records anew what a real API server answers to the writes of ``tests/fixtures/sandbox``.

Run it after the pinned Kubernetes changed, or after adding a case without an answer:
``.venv/bin/python -m tools.sandbox_recordings``
"""

from __future__ import annotations

from tests.support import recorded_writes
from tests.support.api_talk import ApiTalk
from tests.support.quiet_control_plane import QuietControlPlane
from tests.support.recorded_stage import prepare


def main() -> None:
    """Rewrite every recording."""
    with QuietControlPlane.start("recordings") as cluster, ApiTalk(cluster.client) as talk:
        for name in recorded_writes.names():
            cases = recorded_writes.load(name)
            namespace = f"recorded-{name}"
            prepare(talk.say, namespace)
            for case in cases:
                for step in case["steps"]:
                    said = recorded_writes.play(step, talk.say, namespace)
                    for key in ("status", "answer", "warnings"):
                        step.pop(key, None)
                    if not recorded_writes.is_clearing(step):
                        step.update(recorded_writes.heard(said, namespace))
            recorded_writes.save(name, cases)
            print(f"{name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
