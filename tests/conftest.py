"""What holds for every test.

Nothing of the developer's machine is seen: no ``GITOPSD_*`` settings, no kubeconfig, no Git
configuration, no SSH agent. No network but what the directory allows (``tests/support/policy.py``),
no asyncio task outlives its test (``leaks.py``), and a test that does not run counts as failed
(``verdict.py``).
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.support import garbage, leaks, no_loop, sharing, unicode_tables
from tests.support.policy import apply_policy
from tests.support.verdict import VerdictPlugin

pytest_plugins = (
    "tests.support.cluster_fixtures",
    "tests.support.node_agent",
    "tests.support.operator_fixtures",
    "tests.support.sandbox_server",
    "tests.support.store_fixtures",
)

_TESTS = Path(__file__).parent
_MACHINE_ONLY = ("KUBECONFIG", "SENTRY_DSN", "SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_SSH_COMMAND")
_PLAIN_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "A developer",
    "GIT_AUTHOR_EMAIL": "developer@example.test",
    "GIT_COMMITTER_NAME": "A developer",
    "GIT_COMMITTER_EMAIL": "developer@example.test",
}

set_hypothesis_home_dir(_TESTS.parent / "build" / "hypothesis")
# Deadlines per example measure the machine, not the code: the test's own time limit stands.
# A developer waits for these: fewer examples than in CI, and other ones each time.
settings.register_profile(
    "dev", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_configure(config: pytest.Config) -> None:
    """Hides the developer's machine and picks the Hypothesis profile."""
    environment = os.environ  # noqa: TID251 - the one place that cleans the environment of all tests
    for name in [name for name in environment if name.startswith("GITOPSD_")]:
        del environment[name]
    for name in _MACHINE_ONLY:
        environment.pop(name, None)
    environment.update(_PLAIN_GIT)
    # A shell that starts something with "&" has it ignore Ctrl-C; so would all that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # So would it outlive its terminal when the run was started with nohup.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    no_loop.pytest_configure()
    in_ci = bool(environment.get("CI"))
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("ci" if in_ci else "dev")
    config.pluginmanager.register(garbage, "garbage")
    config.pluginmanager.register(leaks, "leaks")
    config.pluginmanager.register(unicode_tables, "unicode_tables")
    config.pluginmanager.register(VerdictPlugin(brief=in_ci), "verdict")
    config.pluginmanager.register(sharing, "sharing")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test the time limit and the network of its directory."""
    apply_policy(items, _TESTS)
