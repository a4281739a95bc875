/* Sends COUNT numbered lines of SIZE octets (line end included) over TCP connections, in turn, as fast as they are taken.

   lines HOST PORT COUNT SIZE [CONNECTIONS]

   A line is a valid RFC 3164 message, `<13>Nov 20 11:22:33 bench load: 0000000042 xxx…`, so that no server has to repair it. Prints one
   JSON object: the monotonic second of the first octet and the seconds until the last was handed to the kernel. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINES_A_WRITE = 1600, DIGITS = 10, MOST_CONNECTIONS = 1000 };
static const char head[] = "<13>Nov 20 11:22:33 bench load: ";

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void number(char *at, unsigned long n) {
    for (int i = DIGITS - 1; i >= 0; i--, n /= 10)
        at[i] = '0' + n % 10;
}

int main(int argc, char **argv) {
    int connections = argc == 6 ? atoi(argv[5]) : 1, fds[MOST_CONNECTIONS];
    if (argc < 5 || argc > 6 || connections < 1 || connections > MOST_CONNECTIONS) {
        fprintf(stderr, "usage: lines HOST PORT COUNT SIZE [CONNECTIONS]\n");
        return 2;
    }
    unsigned long count = strtoul(argv[3], NULL, 10), size = strtoul(argv[4], NULL, 10), sent = 0;
    if (size < sizeof head + DIGITS) {
        fprintf(stderr, "a line has at least %zu octets\n", sizeof head + DIGITS);
        return 2;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    for (int i = 0; i < connections; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&to, sizeof to)) {
            perror("connect");
            return 1;
        }
    }
    char *block = malloc(LINES_A_WRITE * size);
    for (unsigned long i = 0; i < LINES_A_WRITE; i++) {
        char *line = block + i * size;
        memset(line, 'x', size);
        memcpy(line, head, sizeof head - 1);
        line[sizeof head - 1 + DIGITS] = ' ';
        line[size - 1] = '\n';
    }
    double begun = now();
    for (int turn = 0; sent < count; turn = (turn + 1) % connections) {
        unsigned long lines = count - sent < LINES_A_WRITE ? count - sent : LINES_A_WRITE, left = lines * size;
        for (unsigned long i = 0; i < lines; i++)
            number(block + i * size + sizeof head - 1, sent + i);
        for (char *at = block; left;) {
            ssize_t n = write(fds[turn], at, left);
            if (n < 0) {
                perror("write");
                return 1;
            }
            at += n;
            left -= n;
        }
        sent += lines;
    }
    printf("{\"begun\": %.6f, \"seconds\": %.6f}\n", begun, now() - begun);
    for (int i = 0; i < connections; i++)
        close(fds[i]);
    return 0;
}
