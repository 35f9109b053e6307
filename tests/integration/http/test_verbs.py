"""People's verbs over HTTP and at a terminal: what is done, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import CommandLine
from tests.support.http_world import make_busy, serving_world

PATH = "/applications/shop/stages/staging"


async def test_a_refusal_is_a_problem_with_the_sentence_of_the_table(tmp_path: Path) -> None:
    """It says why, and what to type instead; a terminal prints it as it is."""
    async with serving_world() as http:
        busy = await make_busy(http)
        refused = await http.ask("POST", f"{PATH}/adopt", body={"reason": "mine"})
        ended = await http.ask("POST", f"/runs/{busy.finished}/abort")
        person = CommandLine(http.url, http.tokens["admin"], tmp_path)
        typed = await person.run("adopt", "shop", "staging", "--reason", "mine")
        entry = (await http.get("/audit"))["items"][0]

    sentence = (
        "shop/staging is held by no other installation; what it waits for: gitopsd explain shop "
        "staging."
    )
    assert refused.status == 409
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert refused.document["detail"] == sentence
    assert ended.document["detail"] == (
        f"{busy.finished} ended Succeeded; to go back: gitopsd rollback shop staging."
    )
    assert (typed.code, typed.out) == (2, "")
    assert typed.err.startswith(f"gitopsd: {sentence}\n")
    assert (entry["subject"], entry["action"], entry["target"]) == (
        "admin-person",
        "adopt",
        "shop/staging",
    )
    assert entry["outcome"] == f"refused: {sentence[:-1]}"
    assert entry["details"]["reason"] == "mine"
    assert entry["details"]["before"] == entry["details"]["after"] != ""


async def test_a_person_checks_again_and_aborts_with_a_reason(tmp_path: Path) -> None:
    """Reverify, abort with and without what it wrote, retry; each keeps why it was done."""
    async with serving_world() as http:
        busy = await make_busy(http)
        person = CommandLine(http.url, http.tokens["admin"], tmp_path)
        checked = await person.run("reverify", "shop", "staging", "-m", "somebody asked")
        left = await person.run("abort", busy.waiting, "--leave", "-m", "wrong day")
        again = await http.post(f"/runs/{busy.waiting}/retry", {"reason": "right day"})
        restored = await http.post(f"/runs/{again['run']}/abort")

        async def is_checked() -> bool:
            log = (await http.get("/audit"))["items"]
            return any(entry["action"] == "reverified" for entry in log)

        await http.until(is_checked, "the checks were made again")
        log = {
            entry["action"]: entry["details"].get("reason")
            for entry in (await http.get("/audit"))["items"]
        }

    assert checked.out == (
        f"the checks of {busy.release} in shop/staging are made again; what they say: "
        f"gitopsd get runs {busy.finished}\n"
    )
    assert left.out == f"{busy.waiting} is being aborted\n"
    assert restored["run"] == again["run"]
    assert log["reverify"] == log["reverified"] == "somebody asked"
    assert log["retry"] == "right day"
