"""The five systems on a real control plane: what each does, and what is expected of gitopsd.

Here: one module a system with its `STORY` (data, no code), the site that plays stories with the
real service, and the judge, who believes kubectl and HTTP and never gitopsd. Never: rules of
gitopsd, and anything that tests of other subjects need.
"""
