"""How each peer is started for each kind of work: a file a peer, a function a work, `Place` in and `Command` out."""
