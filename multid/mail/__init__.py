"""Mail: receiving, keeping and delivering it (RFC 5321)."""
