/* What the preloaded libraries share: the real calls behind theirs, where a name lies, and `open` in all its forms. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REAL(name) ({ static __typeof__(&name) next; if (!next) next = real(#name); next; })

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

/* Whether a name in an open folder, or with NULL what is open itself, is `under` or below it. */
static int is_below(const char *under, int at, const char *name) {
    char link[64], path[PATH_MAX];
    size_t length = strlen(under);
    if (!name || name[0] != '/') {
        if (at == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t size = readlink(link, path, sizeof path - 1);
        if (size < 0) return 0;
        path[size] = 0;
        if (name && size + strlen(name) + 2 < sizeof path) strcat(strcat(path, "/"), name);
        name = path;
    }
    return !strncmp(name, under, length) && (name[length] == '/' || !name[length]);
}

/* Defines open and its kin; each does ON_OPEN(at, path, flags, call), where `call` is the real one. */
#define OPEN(name, at, parameters, arguments) \
    int name parameters { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        ON_OPEN(at, path, flags, REAL(name) arguments) \
    }

#define OPENS \
    OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode)) \
    OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode)) \
    OPEN(openat, folder_at, (int folder_at, const char *path, int flags, ...), (folder_at, path, flags, mode)) \
    OPEN(openat64, folder_at, (int folder_at, const char *path, int flags, ...), (folder_at, path, flags, mode))
