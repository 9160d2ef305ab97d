/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines for the people who run cubby: to stderr, one write(2) a line, quiet by default (warnings and
 * errors). CUBBY_LOG chooses: "debug", or "vmm=debug,exec=info", or both ("warn,vsock=debug");
 * "vm" is all topics of a virtual machine. Without CUBBY_LOG, RUST_LOG counts: "debug", "boxlite=debug".
 *
 * The levels are the only mutable state of the process that base/ keeps: read once from the environment on
 * first use, afterwards only read; safe from any thread. errno is kept across every call.
 */
#ifndef CUBBY_BASE_LOG_H
#define CUBBY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_OFF, LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_topic {
    LOG_VMM,     /* machine, vCPUs, loaders, life cycle */
    LOG_VIRTIO,  /* queues and transport */
    LOG_CONSOLE, /* virtio-console */
    LOG_BLK,     /* virtio-blk */
    LOG_VSOCK,   /* virtio-vsock and its host side */
    LOG_EXEC,    /* executions, both sides */
    LOG_INIT,    /* PID 1 */
    LOG_IMAGE,   /* images and disks */
    LOG_NET,     /* registries */
    LOG_BOX,     /* the runtime's boxes */
    LOG_CLI,
    LOG_TOPICS
};

/* Overrides the environment; `spec` as in CUBBY_LOG. Returns 0, or -EINVAL for a word that is not known (the
 * rest of `spec` is applied all the same). Not for use beside running threads. */
int log_configure(const char *spec);

/* The same with the words of RUST_LOG; those of other programs' parts are passed over. */
void log_configure_rust(const char *spec);

bool log_enabled(enum log_topic topic, enum log_level level);

void log_write(enum log_topic topic, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_at(topic, level, ...)                                                                            \
    do {                                                                                                     \
        if (log_enabled(topic, level))                                                                       \
            log_write(topic, level, __VA_ARGS__);                                                            \
    } while (0)
#define log_err(topic, ...)   log_at(topic, LOG_ERR, __VA_ARGS__)
#define log_warn(topic, ...)  log_at(topic, LOG_WARN, __VA_ARGS__)
#define log_info(topic, ...)  log_at(topic, LOG_INFO, __VA_ARGS__)
#define log_debug(topic, ...) log_at(topic, LOG_DEBUG, __VA_ARGS__)

/*
 * For anything that a guest or a peer can trigger at will: at most `LOG_BURST` lines per second and call
 * site's object. Zero-initialise one next to the object (device, connection table) whose faults it counts;
 * one thread, or the object's lock.
 */
#define LOG_BURST 5
struct log_limit {
    uint64_t window_start_ns;
    uint32_t in_window;
    uint32_t suppressed;
};

/* True when a line may be written now. When lines were suppressed before, says how many (at warn level). */
bool log_limit_pass(struct log_limit *l, enum log_topic topic);

#define log_warn_limited(limit, topic, ...)                                                                  \
    do {                                                                                                     \
        if (log_limit_pass(limit, topic))                                                                    \
            log_warn(topic, __VA_ARGS__);                                                                    \
    } while (0)

#endif
