/* The floor: an echo server of one epoll loop that does nothing but receive and send.

   echo tcp|udp PORT      (on 127.0.0.1)

   It drops the octets a client does not take at once beyond one buffer's worth: it is a measure, not a service. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 16];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int bound(int type, int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at))
        fail("bind");
    return fd;
}

static void watch(int poller, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e))
        fail("epoll_ctl");
}

static void stream(int fd) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0), done = 0;
    if (n < 0 && errno == EAGAIN)
        return;
    while (done < n) {
        ssize_t sent = send(fd, buffer + done, n - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            break;
        done += sent < 0 ? 0 : sent;
    }
    if (n <= 0 || done < n)
        close(fd);
}

static void datagrams(int fd) {
    struct sockaddr_storage from;
    for (;;) {
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
        if (n < 0)
            return;
        sendto(fd, buffer, n, 0, (struct sockaddr *)&from, length);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: echo tcp|udp PORT\n");
        return 2;
    }
    int tcp = !strcmp(argv[1], "tcp"), one = 1, poller = epoll_create1(0);
    int listener = bound(tcp ? SOCK_STREAM : SOCK_DGRAM, atoi(argv[2]));
    struct epoll_event ready[256];
    if (tcp && listen(listener, 4096))
        fail("listen");
    watch(poller, listener);
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd != listener) {
                stream(fd);
            } else if (!tcp) {
                datagrams(fd);
            } else if ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(poller, fd);
            }
        }
    }
}
