"""What Kubernetes refuses to store, kind by kind, in its own words.

Belongs here: the rules that people really break: names, selectors, containers, ports, amounts,
duplicates, references, and fields that may not change.
Never: defaults (`objects.defaults`), types (`objects.decoding`), or rules of gitopsd's own.

Source of every rule and wording: Kubernetes' ``pkg/apis/*/validation`` of the release that the
schemas come from, compared with the answers of a real server.
"""
