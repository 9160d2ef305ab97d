/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long streams whose every byte is known, and the workloads that write and check them: a test program that is
 * executed with the arguments of pour_main() is such a workload. A stream repeats a block of noise; each
 * repetition begins with its number, so that a block which is lost, doubled or moved is found as surely as a
 * changed byte.
 */
#ifndef CUBBY_TESTS_GUEST_INIT_POUR_H
#define CUBBY_TESTS_GUEST_INIT_POUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POUR_BLOCK 65521u /* a prime: no buffer's size divides it */

struct pour {
    uint8_t block[POUR_BLOCK];
    uint64_t at; /* bytes so far */
};

/* Streams with other keys differ in every block. */
static inline void pour_init(struct pour *p, uint64_t key)
{
    uint64_t x = key * UINT64_C(0x9E3779B97F4A7C15) + 1;
    p->at = 0;
    for (size_t i = 0; i < POUR_BLOCK; i++) {
        x ^= x << 13; /* xorshift64 */
        x ^= x >> 7;
        x ^= x << 17;
        p->block[i] = (uint8_t)(x >> 32);
    }
}

/* The next piece of the stream, at most `len` bytes; returns its length. */
static inline size_t pour_next(struct pour *p, const uint8_t **piece, size_t len)
{
    uint64_t number = p->at / POUR_BLOCK;
    size_t from = (size_t)(p->at % POUR_BLOCK), left = POUR_BLOCK - from;
    if (from == 0)
        memcpy(p->block, &number, sizeof(number));
    if (len > left)
        len = left;
    *piece = p->block + from;
    p->at += len;
    return len;
}

/* Whether these bytes are the next ones of the stream. */
static inline bool pour_matches(struct pour *p, const uint8_t *data, size_t len)
{
    while (len > 0) {
        const uint8_t *piece;
        size_t n = pour_next(p, &piece, len);
        if (memcmp(piece, data, n) != 0)
            return false;
        data += n;
        len -= n;
    }
    return true;
}

static inline int pour_write(int fd, uint64_t key, uint64_t total)
{
    static struct pour p;
    pour_init(&p, key);
    while (p.at < total) {
        const uint8_t *piece;
        size_t n = pour_next(&p, &piece, total - p.at < POUR_BLOCK ? (size_t)(total - p.at) : POUR_BLOCK);
        for (size_t done = 0; done < n;) {
            ssize_t put = write(fd, piece + done, n - done);
            if (put <= 0)
                return 1;
            done += (size_t)put;
        }
    }
    return 0;
}

static inline int pour_read(int fd, uint64_t key, uint64_t total)
{
    static struct pour p;
    static uint8_t chunk[1u << 16];
    ssize_t n;
    pour_init(&p, key);
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        if (!pour_matches(&p, chunk, (size_t)n))
            return 2;
    return n == 0 && p.at == total ? 0 : 3;
}

/*
 * PROGRAM pour OUT ERR    writes OUT bytes to stdout (key 1) and ERR bytes to stderr (key 2), at the same
 * time PROGRAM drain TOTAL     0 when stdin is TOTAL bytes with key 3
 *
 * The exit code, or -1 when the arguments are others.
 */
static inline int pour_main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "drain") == 0)
        return pour_read(STDIN_FILENO, 3, strtoull(argv[2], NULL, 10));
    if (argc != 4 || strcmp(argv[1], "pour") != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(pour_write(STDERR_FILENO, 2, strtoull(argv[3], NULL, 10)));
    int ret = pour_write(STDOUT_FILENO, 1, strtoull(argv[2], NULL, 10)), status = -1;
    waitpid(pid, &status, 0);
    return ret || status ? 1 : 0;
}

#endif
