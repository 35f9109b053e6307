"""Templates and static files of the web pages; the only Python here is this charter.

Belongs here: jinja2 templates, style sheets, icons.
Never: code or data; routes live in entrypoints.http.
"""
