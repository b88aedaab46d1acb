/* What a child of rsyslog's omprog has to do at the least, and nothing else: benches/run measures logjam beside it.
 *
 *     omprog_child FILE                  a line, write(2), "OK"
 *     omprog_child FILE --transactions   a line, write(2), "DEFER_COMMIT"; a COMMIT, fdatasync(2), "OK"
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEGIN "BEGIN TRANSACTION\n"
#define COMMIT "COMMIT TRANSACTION\n"

static char buffer[64 << 10];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void put(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            fail("write");
        }
        data += n;
        size -= (size_t)n;
    }
}

static int is(const char *line, size_t size, const char *mark) {
    return size == strlen(mark) && memcmp(line, mark, size) == 0;
}

int main(int argc, char **argv) {
    int transactions = argc == 3 && strcmp(argv[2], "--transactions") == 0;
    if (argc != 2 && !transactions) {
        fprintf(stderr, "usage: omprog_child FILE [--transactions]\n");
        return 2;
    }
    int file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0)
        fail(argv[1]);
    put(1, "OK\n", 3);

    size_t have = 0; /* bytes in the buffer: the beginning of a line */
    for (;;) {
        if (have == sizeof buffer) {
            fprintf(stderr, "omprog_child: a line is longer than %zu bytes\n", sizeof buffer);
            return 1;
        }
        ssize_t n = read(0, buffer + have, sizeof buffer - have);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            fail("read");
        }
        if (n == 0)
            return 0;
        have += (size_t)n;
        char *line = buffer, *end;
        while ((end = memchr(line, '\n', have)) != NULL) {
            size_t size = (size_t)(end + 1 - line);
            if (transactions && is(line, size, BEGIN)) {
                put(1, "OK\n", 3);
            } else if (transactions && is(line, size, COMMIT)) {
                if (fdatasync(file) != 0)
                    fail("fdatasync");
                put(1, "OK\n", 3);
            } else {
                put(file, line, size);
                if (transactions)
                    put(1, "DEFER_COMMIT\n", 13);
                else
                    put(1, "OK\n", 3);
            }
            line += size;
            have -= size;
        }
        memmove(buffer, line, have);
    }
}
