"""JSON Schemas: as strict as the files, and up to date."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest
from ryaml import loads  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.adapters.config_files.documents import FOLDERS, PEOPLE_FILE
from gitopsd.adapters.config_files.schemas import list_kinds, schema_of, write_schema
from gitopsd.errors import PermanentError

CONFIG = Path(__file__).parents[3] / "config"
EXAMPLES = {
    **{f"{folder}/": kind for folder, kind in FOLDERS.items()},
    PEOPLE_FILE: "People",
}


@pytest.mark.parametrize("kind", list_kinds())
def test_stored_schemas_are_up_to_date(kind: str) -> None:
    """What editors read is what the service checks; `make schema` writes it again."""
    stored = (CONFIG / "schemas" / f"{kind}.json").read_text(encoding="utf-8")
    assert stored == write_schema(kind)


def test_every_kind_has_a_stored_schema_and_no_other_has() -> None:
    """No schema of a kind that is gone lies about."""
    stored = {path.stem for path in (CONFIG / "schemas").iterdir()}
    assert stored == set(list_kinds())


def _examples() -> list[tuple[str, Path]]:
    found = []
    for place, kind in EXAMPLES.items():
        paths = (CONFIG / "examples" / place).glob("*") if place.endswith("/") else None
        found += [(kind, path) for path in paths or [CONFIG / "examples" / place]]
    return found


@pytest.mark.parametrize("kind, path", _examples(), ids=lambda value: str(value).rpartition("/")[2])
def test_schemas_accept_the_examples(kind: str, path: Path) -> None:
    """Every example is valid by its schema, and names it for editors."""
    text = path.read_text(encoding="utf-8")
    assert jsonschema_rs.is_valid(dict(schema_of(kind)), loads(text))
    assert text.startswith("# yaml-language-server: $schema=")
    assert text.splitlines()[0].endswith(f"schemas/{kind}.json")


@pytest.mark.parametrize("kind, path", _examples(), ids=lambda value: str(value).rpartition("/")[2])
def test_schemas_refuse_unknown_keys(kind: str, path: Path) -> None:
    """A key that the service refuses is refused while it is typed."""
    document = loads(path.read_text(encoding="utf-8"))
    document["spec"]["unknown"] = 1
    assert not jsonschema_rs.is_valid(dict(schema_of(kind)), document)


def test_defaults_are_written_as_people_write_them() -> None:
    """Durations are `5m`, not ISO 8601."""
    assert '"5m"' in write_schema("Application")
    assert '"PT' not in write_schema("Application")


def test_an_unknown_kind_is_named() -> None:
    """With what was probably meant."""
    with pytest.raises(PermanentError) as caught:
        schema_of("application")
    assert caught.value.message == "there is no kind 'application'. Did you mean `Application`?"
