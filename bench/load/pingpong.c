/* Ping-pong with an echo server: each connection sends SIZE octets, waits until all came back, compares them, sends again.

   pingpong tcp|udp HOST PORT CONNECTIONS SIZE SECONDS

   It never sleeps: a server that had to wake it would pay for that with every send, which a network card does not ask of it.

   Prints one JSON object: round trips finished, seconds, the share of them in which there was something to do (near 1: this program was
   the limit itself), datagrams that were sent again after 200 ms, and the median and the 99th percentile of a round trip in microseconds.
   A tenth of SECONDS before them is a warm-up and is not counted. A wrong octet or a lost connection ends the program with status 1. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { RESEND_NS = 200000000, BUCKETS = 200000 };

struct peer {
    int fd;
    int wants_write;
    size_t sent, received;
    unsigned long long turn, since;
    char *message;
};

static int datagrams;
static size_t size;
static int poller;
static char *incoming;
static unsigned histogram[BUCKETS];
static unsigned long long trips, again;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static unsigned long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void watch_write(struct peer *p, int wanted) {
    if (p->wants_write == wanted)
        return;
    p->wants_write = wanted;
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = p};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, p->fd, &e))
        fail("epoll_ctl");
}

static void push(struct peer *p) {
    while (p->sent < size || (datagrams && size == 0 && p->sent == 0)) {
        ssize_t n = send(p->fd, p->message + p->sent, size - p->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch_write(p, 1);
            return;
        }
        if (n < 0 && datagrams && errno == ECONNREFUSED)
            continue;
        if (n < 0)
            fail("send");
        p->sent += n;
        if (size == 0)
            break;
    }
    watch_write(p, 0);
}

static void serve(struct peer *p, unsigned long long t) {
    p->turn++;
    memcpy(p->message, &p->turn, size < sizeof p->turn ? size : sizeof p->turn);
    p->sent = p->received = 0;
    p->since = t;
    push(p);
}

static void finished(struct peer *p) {
    unsigned long long t = now(), us = (t - p->since) / 1000;
    histogram[us < BUCKETS ? us : BUCKETS - 1]++;
    trips++;
    serve(p, t);
}

static void take(struct peer *p) {
    ssize_t n = recv(p->fd, incoming, datagrams ? 65536 : size - p->received, 0);
    if (n < 0 && (errno == EAGAIN || (datagrams && errno == ECONNREFUSED)))
        return;
    if (n < 0)
        fail("recv");
    if (datagrams) {
        if ((size_t)n == size && memcmp(incoming, p->message, size) == 0)
            finished(p); /* else: the late answer to one that was sent again */
        return;
    }
    if (n == 0) {
        fprintf(stderr, "the server closed a connection\n");
        exit(1);
    }
    if (memcmp(incoming, p->message + p->received, n)) {
        fprintf(stderr, "the server returned other octets\n");
        exit(1);
    }
    p->received += n;
    if (p->received == size)
        finished(p);
}

static void open_peer(struct peer *p, const char *host, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1;
    inet_pton(AF_INET, host, &to.sin_addr);
    p->fd = socket(AF_INET, datagrams ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to))
        fail("connect");
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    if (!datagrams)
        setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->message = malloc(size + sizeof p->turn);
    for (size_t i = 0; i < size; i++)
        p->message[i] = 'a' + i % 26;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, p->fd, &e))
        fail("epoll_ctl");
}

static unsigned percentile(double share) {
    unsigned long long seen = 0;
    unsigned i = 0;
    while (i < BUCKETS - 1 && (seen += histogram[i]) < share * trips)
        i++;
    return i;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: pingpong tcp|udp HOST PORT CONNECTIONS SIZE SECONDS\n");
        return 2;
    }
    datagrams = !strcmp(argv[1], "udp");
    int count = atoi(argv[4]);
    size = strtoul(argv[5], NULL, 10);
    double seconds = atof(argv[6]);
    struct peer *peers = calloc(count, sizeof *peers);
    struct epoll_event ready[256];
    incoming = malloc(size > 65536 ? size : 65536);
    poller = epoll_create1(0);
    for (int i = 0; i < count; i++)
        open_peer(&peers[i], argv[2], atoi(argv[3]));
    unsigned long long begun = now(), counted = begun + seconds * 1e8, end = counted + seconds * 1e9, checked = begun;
    unsigned long long idle = 0, looked = begun;
    int warm = 0;
    for (int i = 0; i < count; i++)
        serve(&peers[i], begun);
    for (;;) {
        int n = epoll_wait(poller, ready, 256, 0);
        for (int i = 0; i < n; i++) {
            struct peer *p = ready[i].data.ptr;
            if (ready[i].events & EPOLLOUT)
                push(p);
            if (ready[i].events & ~EPOLLOUT)
                take(p);
        }
        unsigned long long t = now();
        if (n == 0)
            idle += t - looked;
        looked = t;
        if (!warm && t >= counted) {
            warm = 1;
            counted = t;
            trips = again = idle = 0;
            memset(histogram, 0, sizeof histogram);
        }
        if (t >= end)
            break;
        if (datagrams && t - checked > RESEND_NS / 4) {
            checked = t;
            for (int i = 0; i < count; i++)
                if (t - peers[i].since > RESEND_NS) {
                    again++;
                    serve(&peers[i], t);
                }
        }
    }
    double took = (now() - counted) / 1e9;
    printf("{\"trips\": %llu, \"seconds\": %.6f, \"busy\": %.4f, \"again\": %llu, \"p50\": %u, \"p99\": %u}\n", trips, took,
           1 - idle / 1e9 / took, again, percentile(0.5), percentile(0.99));
    return 0;
}
