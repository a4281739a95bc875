"""The socket, the metrics and the status page an operator looks at."""
