"""multid: a line logger, time, echo and UDP services and a local SMTP relay in one Twisted daemon."""
