"""``gitopsd demo``: the whole promise on one machine, played by the rules of production.

Belongs here: starting gitopsd and what stands around it as processes, doing what people do (push to
Git, push an image, approve), and looking at the clusters to say what came of it.
Never: a shortcut into the daemon. It is a client: configuration files, webhooks, the HTTP API and
the clusters' own APIs are all that it has.

`verb` reads the command line, `session` plays it; `installation` with `children` and
`configuration` starts everything, `pushing` and `images` do what people do, `witness` looks at the
clusters, `scenarios` tells the stories, `screen` shows them.
"""
