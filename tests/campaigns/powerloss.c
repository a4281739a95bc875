/*
 * Preloaded into the daemon: keeps, beside the files below POWERLOSS_FOLDER, what of them a power loss would leave.
 *
 * POWERLOSS_SHADOW holds `files/ID`, the durable content of each file there ever was, and `folders/INODE`, the durable
 * names of a folder, a line `ID NAME` each. A content becomes durable by fsync or fdatasync of the file, names by fsync
 * of their folder, and folders themselves at once. What was written and not synchronised is gone, but for the chance of
 * POWERLOSS_LUCK in a thousand, by which a write or the names of a folder are durable at once: a kernel writes in any
 * order. After a failed fsync the octets it was about are never made durable by a later one, as with Linux's page cache.
 */
#include "preload.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

struct range { off_t from, to; };

struct file {
    dev_t device;
    ino_t inode;
    int id;
    struct range *dirty;
    size_t ranges, room;
    struct file *next;
};

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct file *files;
static char folder[PATH_MAX], shadow[PATH_MAX];
static int is_on, luck;
static unsigned lots;

static int is_lucky(void) { return luck && rand_r(&lots) % 1000 < luck; }

/* Files and folders */

static struct file *find(const struct stat *status) {
    struct file *file = files;
    while (file && (file->inode != status->st_ino || file->device != status->st_dev)) file = file->next;
    return file;
}

static void copy(int from, int to, off_t at, off_t end) {
    char data[65536];
    while (at < end) {
        size_t most = end - at < (off_t)sizeof data ? (size_t)(end - at) : sizeof data;
        ssize_t size = pread(from, data, most, at);
        if (size <= 0 || REAL(pwrite)(to, data, size, at) != size) return;
        at += size;
    }
}

/* Open the durable content of a file. */
static int kept(const struct file *file) {
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/files/%d", shadow, file->id);
    int descriptor = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) abort();
    return descriptor;
}

/* Know a file; what it holds now, before anything of ours, is durable. */
static struct file *adopt(int at, const char *name, const struct stat *status) {
    static int last;
    struct file *file = find(status);
    if (file) return file;
    file = calloc(1, sizeof *file);
    file->device = status->st_dev;
    file->inode = status->st_ino;
    file->id = ++last;
    file->next = files;
    files = file;
    int now = REAL(openat)(at, name, O_RDONLY | O_CLOEXEC), to = kept(file);
    if (REAL(ftruncate)(to, 0)) abort();
    copy(now, to, 0, status->st_size);
    close(now);
    close(to);
    return file;
}

/* Make the names in a folder durable; know its files. */
static void keep_names(int at) {
    char path[PATH_MAX + 64], final[PATH_MAX + 32];
    struct stat status;
    int again = REAL(openat)(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = again < 0 ? NULL : fdopendir(again);
    if (!names || fstat(at, &status)) return;
    snprintf(final, sizeof final, "%s/folders/%lu", shadow, (unsigned long)status.st_ino);
    snprintf(path, sizeof path, "%s.new", final);
    FILE *list = fopen(path, "we");
    for (struct dirent *entry; (entry = readdir(names));)
        if (!fstatat(at, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode))
            fprintf(list, "%d %s\n", adopt(at, entry->d_name, &status)->id, entry->d_name);
    fclose(list);
    REAL(rename)(path, final);
    closedir(names);
}

static void keep_tree(int at) {
    struct stat status;
    keep_names(at);
    DIR *names = fdopendir(dup(at));
    rewinddir(names);
    for (struct dirent *entry; (entry = readdir(names));) {
        if (entry->d_name[0] == '.' || fstatat(at, entry->d_name, &status, AT_SYMLINK_NOFOLLOW)) continue;
        if (!S_ISDIR(status.st_mode)) continue;
        int inner = REAL(openat)(at, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        keep_tree(inner);
        close(inner);
    }
    closedir(names);
}

__attribute__((constructor)) static void begin(void) {
    const char *under = getenv("POWERLOSS_FOLDER"), *beside = getenv("POWERLOSS_SHADOW"), *chance = getenv("POWERLOSS_LUCK");
    const char *seed = getenv("POWERLOSS_SEED");
    if (!under || !beside) return;
    strcpy(folder, under);
    strcpy(shadow, beside);
    luck = chance ? atoi(chance) : 0;
    lots = seed ? atoi(seed) : 1;
    int at = REAL(open)(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return;
    keep_tree(at);
    close(at);
    is_on = 1;
}

static int is_inside(int at, const char *name) { return is_on && is_below(folder, at, name); }

/* The folder of a name has changed; by luck that is durable at once. */
static void changed(int at, const char *name) {
    char path[PATH_MAX];
    if (!is_lucky()) return;
    strcpy(path, name);
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, ".");
    int parent = REAL(openat)(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return;
    keep_names(parent);
    close(parent);
}

/* The name is about to be taken from the file that has it, whose inode may become another file's. */
static void leaves(int at, const char *name) {
    struct stat status;
    if (fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) || status.st_nlink > 1) return;
    struct file *file = find(&status), **link = &files;
    if (!file) return;
    while (*link != file) link = &(*link)->next;
    *link = file->next;
    free(file->dirty);
    free(file);
}

/* Open once more, to read, what a descriptor has open. */
static int reopen(int descriptor) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return REAL(open)(path, O_RDONLY | O_CLOEXEC);
}

/* Writes */

static void wrote(int descriptor, off_t from, off_t end) {
    struct stat status;
    if (!is_on || from >= end || fstat(descriptor, &status)) return;
    pthread_mutex_lock(&lock);
    struct file *file = find(&status);
    if (file && is_lucky()) {
        int now = reopen(descriptor), to = kept(file);
        copy(now, to, from, end);
        close(now);
        close(to);
    } else if (file) {
        struct range *last = file->ranges ? &file->dirty[file->ranges - 1] : NULL;
        if (last && last->to == from) {
            last->to = end;
        } else {
            if (file->ranges == file->room) {
                file->room = file->room * 2 + 16;
                file->dirty = realloc(file->dirty, file->room * sizeof *file->dirty);
            }
            file->dirty[file->ranges++] = (struct range){from, end};
        }
    }
    pthread_mutex_unlock(&lock);
}

ssize_t write(int descriptor, const void *data, size_t size) {
    ssize_t written = REAL(write)(descriptor, data, size);
    if (written > 0 && is_on) {
        off_t end = lseek(descriptor, 0, SEEK_CUR);
        if (end >= written) wrote(descriptor, end - written, end);
    }
    return written;
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t at) {
    ssize_t written = REAL(pwrite)(descriptor, data, size, at);
    wrote(descriptor, at, at + written);
    return written;
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t at) { return pwrite(descriptor, data, size, at); }

static void synced(int descriptor, const struct stat *status, const struct range *ranges, size_t count) {
    struct file *file = find(status);
    struct stat now;
    int from = reopen(descriptor);
    if (!file || from < 0 || fstat(from, &now)) return;
    int to = kept(file);
    for (size_t n = 0; n < count; n++) copy(from, to, ranges[n].from, ranges[n].to);
    if (REAL(ftruncate)(to, now.st_size)) abort();
    close(to);
    close(from);
}

static int sync_file(int descriptor, int (*how)(int)) {
    struct stat status;
    if (!is_on || fstat(descriptor, &status)) return how(descriptor);
    pthread_mutex_lock(&lock);
    struct file *file = find(&status);
    struct range *ranges = file ? file->dirty : NULL;
    size_t count = file ? file->ranges : 0;
    if (file) {
        file->dirty = NULL;
        file->ranges = file->room = 0;
    }
    pthread_mutex_unlock(&lock);
    int result = how(descriptor);
    pthread_mutex_lock(&lock);
    if (!result && file) synced(descriptor, &status, ranges, count);
    if (!result && S_ISDIR(status.st_mode) && is_inside(descriptor, NULL)) keep_names(descriptor);
    pthread_mutex_unlock(&lock);
    free(ranges);
    return result;
}

int fsync(int descriptor) { return sync_file(descriptor, REAL(fsync)); }
int fdatasync(int descriptor) { return sync_file(descriptor, REAL(fdatasync)); }

/* Names */

static int opened(int descriptor, int at, const char *name, int flags) {
    struct stat status;
    if (descriptor < 0 || !is_on || !is_inside(at, name) || fstat(descriptor, &status) || !S_ISREG(status.st_mode))
        return descriptor;
    int is_new = flags & O_CREAT && !find(&status);
    adopt(at, name, &status);
    if (is_new) changed(at, name);
    return descriptor;
}

#define ON_OPEN(at, path, flags, call) \
    pthread_mutex_lock(&lock); \
    int descriptor = opened(call, at, path, flags); \
    pthread_mutex_unlock(&lock); \
    return descriptor;
OPENS

#define ON_NAMES(name, parameters, arguments, is_ours, before, after) \
    int name parameters { \
        pthread_mutex_lock(&lock); \
        int ours = is_ours; \
        if (ours) before; \
        int result = REAL(name) arguments; \
        if (ours && !result) after; \
        pthread_mutex_unlock(&lock); \
        return result; \
    }

ON_NAMES(rename, (const char *from, const char *to), (from, to), is_inside(AT_FDCWD, to), leaves(AT_FDCWD, to),
         (changed(AT_FDCWD, from), changed(AT_FDCWD, to)))
ON_NAMES(renameat, (int in, const char *from, int into, const char *to), (in, from, into, to), is_inside(into, to),
         leaves(into, to), (changed(in, from), changed(into, to)))
ON_NAMES(unlink, (const char *path), (path), is_inside(AT_FDCWD, path), leaves(AT_FDCWD, path), changed(AT_FDCWD, path))
ON_NAMES(unlinkat, (int at, const char *path, int flags), (at, path, flags), is_inside(at, path), leaves(at, path),
         changed(at, path))
