"""The tables of images: what is followed, what was resolved, what releases are pinned to."""

from __future__ import annotations

from gitopsd.store.table_parts import json, moment, table, text

followed_images = table("followed_images", text("name", key=True), json("doc"))

resolved_images = table(
    "resolved_images", text("reference", key=True), text("digest"), moment("at")
)

release_pins = table(
    "release_pins", text("release", key=True), text("reference", key=True), text("digest")
)

release_marks = table(
    "release_marks",
    text("application", key=True),
    text("mark", key=True),
    text("release", key=True),
)
