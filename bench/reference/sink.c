/* The floor of a logger: copies what arrives to a file, unread; each connection has a process.

   sink PORT FILE      (on 127.0.0.1) */

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 16];

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: sink PORT FILE\n");
        return 2;
    }
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    int file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0640);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (file < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16)) {
        perror("sink");
        return 1;
    }
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        ssize_t n;
        if (fork() != 0) {
            close(fd);
            continue;
        }
        while ((n = read(fd, buffer, sizeof buffer)) > 0)
            if (write(file, buffer, n) != n) {
                perror("write");
                return 1;
            }
        return 0;
    }
}
