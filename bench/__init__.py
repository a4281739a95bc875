"""Side by side: multid and what people use today, one core for the server and another for the load.

`python -m bench` measures every row, `python -m bench echo logger` the named ones, `python -m bench growth` how cost
grows with connections, octets, sessions, mail sizes, a slow disk and a long queue. Everything the peers need is fetched
and built below `var/bench`; nothing is installed and nothing outside loopback is spoken to.
"""
