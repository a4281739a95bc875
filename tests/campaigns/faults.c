/*
 * Preloaded into the daemon: a disk that fails and a clock that is stepped, as a page shared with the test says.
 *
 * Calls that change files below FAULTS_FOLDER fail with `error`, if their kind is in `kinds`, by the chance of
 * `per_mille`. The wall clock is `clock_offset` nanoseconds off; the monotonic clock is what it is.
 */
#include "preload.h"
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

enum { WRITE = 1, SYNC = 2, NAME = 4 };

struct page {
    volatile int64_t clock_offset;
    volatile int32_t error;
    volatile uint32_t kinds;
    volatile uint32_t per_mille;
    volatile uint32_t failed; /* calls that were made to fail */
};

static struct page *page;
static char folder[PATH_MAX];
static __thread unsigned lots;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_PAGE"), *under = getenv("FAULTS_FOLDER");
    int file = path ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0 || !under) return;
    void *mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    snprintf(folder, sizeof folder, "%s", under);
    if (mapped != MAP_FAILED) page = mapped;
}

/* Whether a call on a name, in a folder that is open, shall fail. */
static int fails(unsigned kind, int at, const char *name) {
    if (!page || !page->error || !(page->kinds & kind) || !is_below(folder, at, name)) return 0;
    if (!lots) lots = (unsigned)(uintptr_t)&lots ^ (unsigned)getpid();
    if ((unsigned)rand_r(&lots) % 1000 >= page->per_mille) return 0;
    __sync_fetch_and_add(&page->failed, 1);
    errno = page->error;
    return 1;
}

#define ON_FILE(kind, result, name, parameters, arguments) \
    result name parameters { return fails(kind, file, NULL) ? -1 : REAL(name) arguments; }

ON_FILE(WRITE, ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
ON_FILE(WRITE, ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
ON_FILE(WRITE, ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
ON_FILE(WRITE, ssize_t, writev, (int file, const struct iovec *data, int count), (file, data, count))
ON_FILE(WRITE, int, ftruncate, (int file, off_t size), (file, size))
ON_FILE(WRITE, int, ftruncate64, (int file, off64_t size), (file, size))
ON_FILE(SYNC, int, fsync, (int file), (file))
ON_FILE(SYNC, int, fdatasync, (int file), (file))

#define ON_NAME(name, at, path, parameters, arguments) \
    int name parameters { return fails(NAME, at, path) ? -1 : REAL(name) arguments; }

ON_NAME(rename, AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_NAME(renameat, folder_to, to, (int folder_from, const char *from, int folder_to, const char *to),
        (folder_from, from, folder_to, to))
ON_NAME(unlink, AT_FDCWD, path, (const char *path), (path))
ON_NAME(unlinkat, at, path, (int at, const char *path, int flags), (at, path, flags))
ON_NAME(mkdir, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
ON_NAME(mkdirat, at, path, (int at, const char *path, mode_t mode), (at, path, mode))

static int opens_to_write(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; }

#define ON_OPEN(at, path, flags, call) return opens_to_write(flags) && fails(NAME, at, path) ? -1 : (call);
OPENS

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = REAL(clock_gettime)(clock, time);
    if (!result && page && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t nanoseconds = time->tv_sec * 1000000000LL + time->tv_nsec + page->clock_offset;
        time->tv_sec = nanoseconds / 1000000000;
        time->tv_nsec = nanoseconds % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
