/* Kills the process in a system call on a file of the catalog, as a crash inside SQLite would.

   A library for LD_PRELOAD, made by tests/reliability/system_calls.py.  Until `arm_calls` is
   called it does nothing.  Then it counts the calls that change a file of the catalog, and kills
   the process before one of them, or in the middle of it: a write is then done up to a border of
   two sectors. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define SECTOR 512

static char folder[4096];
static volatile long long *counter;
static long long wanted;
static int in_half;

void arm_calls(const char *path, long long *shared, long long number, int half) {
    snprintf(folder, sizeof folder, "%s/", path);
    wanted = number;
    in_half = half;
    counter = shared;
}

static int concerns(const char *path) {
    size_t length = strlen(folder);
    return counter && !strncmp(path, folder, length) && strstr(path + length, "catalog.sqlite3");
}

static int concerns_descriptor(int descriptor) {
    char link[64], path[4096];
    ssize_t length;
    if (!counter)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return concerns(path);
}

static int is_here(void) { return (*counter)++ == wanted; }

static void die(void) {
    for (;;)
        kill(getpid(), SIGKILL);
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*pwrite_type)(int, const void *, size_t, off64_t);

static ssize_t strike_pwrite(const char *name, int fd, const void *data, size_t n, off64_t at) {
    pwrite_type real = REAL(pwrite_type, name);
    if (concerns_descriptor(fd) && is_here()) {
        off64_t border = (at + (off64_t)n / 2) / SECTOR * SECTOR;
        if (in_half && border > at)
            real(fd, data, border - at, at);
        die();
    }
    return real(fd, data, n, at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    return strike_pwrite("pwrite", fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    return strike_pwrite("pwrite64", fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n) {
    if (concerns_descriptor(fd) && is_here())
        die();
    return REAL(ssize_t (*)(int, const void *, size_t), "write")(fd, data, n);
}

#define STRIKE_DESCRIPTOR(name)                                                                    \
    int name(int fd) {                                                                             \
        if (concerns_descriptor(fd) && is_here())                                                  \
            die();                                                                                 \
        return REAL(int (*)(int), #name)(fd);                                                      \
    }

STRIKE_DESCRIPTOR(fsync)
STRIKE_DESCRIPTOR(fdatasync)

#define STRIKE_TRUNCATE(name, offset)                                                              \
    int name(int fd, offset length) {                                                              \
        if (concerns_descriptor(fd) && is_here())                                                  \
            die();                                                                                 \
        return REAL(int (*)(int, offset), #name)(fd, length);                                      \
    }

STRIKE_TRUNCATE(ftruncate, off_t)
STRIKE_TRUNCATE(ftruncate64, off64_t)

int unlink(const char *path) {
    if (concerns(path) && is_here())
        die();
    return REAL(int (*)(const char *), "unlink")(path);
}

int rename(const char *from, const char *to) {
    if (concerns(from) && is_here())
        die();
    return REAL(int (*)(const char *, const char *), "rename")(from, to);
}

#define STRIKE_OPEN(name)                                                                          \
    int name(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            mode = va_arg(rest, mode_t);                                                           \
            va_end(rest);                                                                          \
            if (flags & O_CREAT && concerns(path) && access(path, F_OK) && is_here())              \
                die();                                                                             \
        }                                                                                          \
        return REAL(int (*)(const char *, int, mode_t), #name)(path, flags, mode);                 \
    }

STRIKE_OPEN(open)
STRIKE_OPEN(open64)
