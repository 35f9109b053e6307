"""The guards around every test: the last line, leaked tasks, and each directory's bounds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.policy import DIRECTORIES, select_allowance
from tests.support.projects import run_module, write_project

_CONFTEST = """
    from tests.support.verdict import VerdictPlugin

    def pytest_configure(config):
        config.pluginmanager.register(VerdictPlugin())
"""

_PASSES = """
    def test_holds():
        pass
"""

_SKIPS = """
    import pytest

    def test_is_not_run():
        pytest.skip("no server")
"""

_EXPECTED_TO_FAIL = """
    import pytest

    @pytest.mark.xfail(raises=AssertionError)
    def test_is_known_to_fail():
        assert False
"""


def _last_line(output: str) -> str:
    return output.rstrip().splitlines()[-1]


def test_run_ends_with_the_counts(tmp_path: Path) -> None:
    """The last line says how many passed and that none failed, and the exit status is 0."""
    write_project(tmp_path, {"conftest.py": _CONFTEST, "test_it.py": _PASSES})

    ended = run_module(tmp_path, "pytest", "-p", "no:cacheprovider")

    assert _last_line(ended.stdout) == "1 passed, 0 failed"
    assert ended.returncode == 0


@pytest.mark.parametrize("other", [_SKIPS, _EXPECTED_TO_FAIL], ids=["skipped", "xfailed"])
def test_test_that_does_not_run_fails_the_run(tmp_path: Path, other: str) -> None:
    """A skip or an expected failure counts among the failed and sets the exit status."""
    files = {"conftest.py": _CONFTEST, "test_it.py": _PASSES, "test_other.py": other}
    write_project(tmp_path, files)

    ended = run_module(tmp_path, "pytest")

    assert _last_line(ended.stdout) == "1 passed, 1 failed"
    assert ended.returncode == 1


_FRESH_HOME = """
    from hypothesis.configuration import set_hypothesis_home_dir
    from tests.support import unicode_tables

    set_hypothesis_home_dir("fresh")

    def pytest_configure(config):
        config.pluginmanager.register(unicode_tables)
"""

_LOOKS_FOR_TABLES = """
    from pathlib import Path

    def test_tables_are_there():
        names = {path.name for path in Path("fresh").rglob("*.json.gz")}
        assert names == {"charmap.json.gz", "codec-v2-utf-8.json.gz"}
"""


def test_no_test_pays_for_the_tables_of_unicode(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """On a fresh clone they are built before the first test, so none overruns its time by them."""
    write_project(tmp_path, {"conftest.py": _FRESH_HOME, "test_it.py": _LOOKS_FOR_TABLES})

    ended = run_module(tmp_path, "pytest")

    assert ended.returncode == 0, ended.stdout
    assert pytestconfig.pluginmanager.has_plugin("unicode_tables")


def test_chosen_tests_may_pass_alone(tmp_path: Path) -> None:
    """Tests left out by the caller's own -k are no failures."""
    files = {"conftest.py": _CONFTEST, "test_it.py": _PASSES, "test_other.py": _SKIPS}
    write_project(tmp_path, files)

    ended = run_module(tmp_path, "pytest", "-k", "holds")

    assert _last_line(ended.stdout) == "1 passed, 0 failed"
    assert ended.returncode == 0


_FAILS = """
    def test_breaks():
        assert "what was seen" == "what was promised"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_log_holds_only_what_failed(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """Where a machine reads, a test that passed says nothing, one that failed says why at once."""
    brief = _CONFTEST.replace("VerdictPlugin()", "VerdictPlugin(brief=True)")
    write_project(tmp_path, {"conftest.py": brief, "test_it.py": _PASSES, "test_no.py": _FAILS})

    ended = run_module(tmp_path, "pytest", "-p", "no:randomly", *workers)

    assert _last_line(ended.stdout) == "1 passed, 1 failed"
    assert ended.returncode == 1
    assert "test_it.py ." not in ended.stdout
    assert "[100%]" not in ended.stdout
    assert "\ntest_no.py::test_breaks (call) failed:\n" in ended.stderr
    assert ended.stderr.count("E       AssertionError: assert 'what was seen' ==") == 1


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_dropped_tests_fail_the_run(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """Tests that a plug-in leaves out, unasked, count among the failed."""
    dropping = (
        _CONFTEST
        + """
    def pytest_collection_modifyitems(config, items):
        config.hook.pytest_deselected(items=[items.pop()])
"""
    )
    files = {"conftest.py": dropping, "test_it.py": _PASSES, "test_more.py": _PASSES}
    write_project(tmp_path, files)

    ended = run_module(tmp_path, "pytest", *workers)

    assert _last_line(ended.stdout) == "1 passed, 1 failed"
    assert ended.returncode == 1


_SHARED = """
    from tests.support import sharing

    def pytest_configure(config):
        config.pluginmanager.register(sharing)
"""


def test_a_groups_tests_share_a_worker_and_the_longest_start_first(tmp_path: Path) -> None:
    """One worker has the folders about the control plane, and modules stay together."""
    several = "import pytest\n" + "".join(
        f"\n@pytest.mark.timeout({{limit}})\ndef test_{n}(worker_id): pass\n" for n in range(4)
    )
    limits = {
        "cluster/test_a": 9,
        "cluster/test_b": 9,
        "cluster/test_system_scenarios": 9,
        "house/test_c": 80,
        "house/test_d": 70,
    }
    files = {f"tests/{name}.py": several.format(limit=limit) for name, limit in limits.items()}
    write_project(tmp_path, {"pytest.ini": "[pytest]", "conftest.py": _SHARED, **files})

    shared = _workers_by_module(tmp_path, "2")
    assert all(len(set(workers)) == 1 for workers in shared.values()), shared
    assert shared["cluster/test_a.py"] == shared["cluster/test_b.py"]
    assert shared["cluster/test_system_scenarios.py"] != shared["cluster/test_a.py"]
    assert [*_workers_by_module(tmp_path, "1")][-2:] == ["house/test_c.py", "house/test_d.py"]


def _workers_by_module(folder: Path, workers: str) -> dict[str, list[str]]:
    """Which workers ran the tests of each module, modules in the order in which they began."""
    ended = run_module(folder, "pytest", "-v", "-n", workers, "tests")
    ran = [line.split() for line in ended.stdout.splitlines() if " PASSED " in line]
    assert len(ran) == 20, ended.stdout
    found: dict[str, list[str]] = {}
    for words in ran:
        module = words[-1].partition("::")[0].removeprefix("tests/")
        found.setdefault(module, []).append(words[0])
    return found


def test_leaked_task_fails_its_test(tmp_path: Path) -> None:
    """A task that is still running when its test ends is named in an error."""
    leaking = """
        import asyncio

        async def forever():
            await asyncio.Event().wait()

        async def test_leaves_a_task():
            asyncio.create_task(forever(), name="left behind")

        async def test_awaits_its_task():
            await asyncio.create_task(asyncio.sleep(0))
    """
    write_project(tmp_path, {"test_it.py": leaking})

    ended = run_module(tmp_path, "pytest", "-p", "tests.support.leaks")

    assert "the test left tasks running: left behind" in ended.stdout
    assert "2 passed, 1 error" in ended.stdout


def test_unit_tests_have_no_network() -> None:
    """The core's tests get five seconds and no address to connect to."""
    allowance = select_allowance(Path("/p/tests/unit/kube/test_health.py"), Path("/p/tests"))

    assert allowance.longest == timedelta(seconds=5)
    assert allowance.hosts == ()


def test_unknown_directory_is_refused() -> None:
    """A test directory without a row in the table is an error that names the table."""
    with pytest.raises(pytest.UsageError, match=r"tests/support/policy\.py"):
        select_allowance(Path("/p/tests/elsewhere/test_it.py"), Path("/p/tests"))


def test_no_directory_reaches_the_internet() -> None:
    """Every address in the table is loopback or a test's own network namespace."""
    hosts = {host for allowance in DIRECTORIES.values() for host in allowance.hosts}

    assert hosts == {"127.0.0.0/8", "::1", "localhost", "10.0.0.0/8"}
