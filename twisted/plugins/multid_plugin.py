"""The `twistd multid` plugin: data only, for every run of `twistd` imports it."""

from twisted.application.service import ServiceMaker

multid = ServiceMaker("multid", "multid.tap", "Line logger, time, echo, UDP services and a local SMTP relay.", "multid")
