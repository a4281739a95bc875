"""What lies between a socket and a protocol: listening, admission, transports, datagrams."""
