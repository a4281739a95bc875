"""The daemon's own log: which events are written, how, and where to."""
