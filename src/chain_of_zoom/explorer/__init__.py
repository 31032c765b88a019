"""The explorer: a page where a person zooms into a photo, and a server on this machine that makes what is in sight.

Read `grid.py` first: where tiles lie and what each is made from. `tree.py` names and keeps them, `maker.py` makes them,
`worker.py` paints them in another process, `scheduler.py` says which is next, `session.py` holds all of it together,
`server.py` speaks HTTP by the table in `endpoints.py`.
"""
