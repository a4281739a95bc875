"""The clock of the kernel, as NTP tells it (RFC 5905)."""
