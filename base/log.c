/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one level per topic in a table of atomic bytes. The first caller of log_enabled()
 * parses CUBBY_LOG, or RUST_LOG where that is not set: programs written for BoxLite choose with that, and
 * whatever else it says is meant for others. Two threads that do so at once write the same values. A line is
 * put together in a local buffer and written with one write(2), so that lines of several threads and
 * processes do not mix.
 */
#include "base/log.h"

#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const topic_names[LOG_TOPICS] = {
    [LOG_VMM] = "vmm",     [LOG_VIRTIO] = "virtio", [LOG_CONSOLE] = "console", [LOG_BLK] = "blk",
    [LOG_VSOCK] = "vsock", [LOG_EXEC] = "exec",     [LOG_INIT] = "init",       [LOG_IMAGE] = "image",
    [LOG_NET] = "net",     [LOG_BOX] = "box",       [LOG_CLI] = "cli",
};
static const char *const level_names[] = {"off", "error", "warn", "info", "debug"};

/* All that belongs to a virtual machine, by one word. */
static const enum log_topic vm_topics[] = {LOG_VMM,   LOG_VIRTIO, LOG_CONSOLE, LOG_BLK,
                                           LOG_VSOCK, LOG_INIT,   LOG_BOX};

#define DEFAULT_LEVEL LOG_WARN

static _Atomic uint8_t levels[LOG_TOPICS];
static _Atomic bool configured;

/* Index of the word [s, s+len) in `names`, or -1. */
static int find_word(const char *s, size_t len, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == len && memcmp(names[i], s, len) == 0)
            return (int)i;
    return -1;
}

static void set_one(enum log_topic topic, int level)
{
    atomic_store_explicit(&levels[topic], (uint8_t)level, memory_order_relaxed);
}

static void set_all(int level)
{
    for (int t = 0; t < LOG_TOPICS; t++)
        set_one((enum log_topic)t, level);
}

static int set_named(const char *s, size_t len, int level)
{
    int topic = find_word(s, len, topic_names, LOG_TOPICS);
    if (topic >= 0) {
        set_one((enum log_topic)topic, level);
        return 0;
    }
    if (len != 2 || memcmp(s, "vm", 2) != 0)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(vm_topics); i++)
        set_one(vm_topics[i], level);
    return 0;
}

/* One element of the list: "level" or "topic=level". */
static int apply_word(const char *s, size_t len)
{
    const char *eq = memchr(s, '=', len);
    const char *level_at = eq ? eq + 1 : s;
    int level = find_word(level_at, (size_t)(s + len - level_at), level_names, ARRAY_LEN(level_names));
    if (level < 0)
        return -EINVAL;
    if (!eq) {
        set_all(level);
        return 0;
    }
    return set_named(s, (size_t)(eq - s), level);
}

/* One element of RUST_LOG: "level", or "boxlite=level", perhaps with a part of BoxLite behind its name, which
 * we do not have. */
static int apply_rust_word(const char *s, size_t len)
{
    static const char *const words[] = {"off", "error", "warn", "info", "debug", "trace"};
    static const char ours[] = "boxlite";
    const char *eq = memchr(s, '=', len);
    const char *level_at = eq ? eq + 1 : s;
    int level = find_word(level_at, (size_t)(s + len - level_at), words, ARRAY_LEN(words));
    if (level > LOG_DEBUG)
        level = LOG_DEBUG;
    if (level >= 0 && (!eq || strncmp(s, ours, sizeof(ours) - 1) == 0))
        set_all(level);
    return 0;
}

static int configure(const char *spec, int (*apply)(const char *word, size_t len))
{
    int ret = 0;
    set_all(DEFAULT_LEVEL);
    while (spec && *spec) {
        size_t len = strcspn(spec, ",");
        if (len && apply(spec, len) < 0)
            ret = -EINVAL;
        spec += len + (spec[len] == ',');
    }
    /* Pairs with the acquire in log_enabled(): who sees `configured` sees the levels. */
    atomic_store_explicit(&configured, true, memory_order_release);
    return ret;
}

int log_configure(const char *spec)
{
    return configure(spec, apply_word);
}

void log_configure_rust(const char *spec)
{
    configure(spec, apply_rust_word);
}

static void configure_from_environment(void)
{
    const char *spec = getenv("CUBBY_LOG");
    if (!spec)
        log_configure_rust(getenv("RUST_LOG"));
    else if (log_configure(spec) < 0)
        log_write(LOG_CLI, LOG_WARN, "CUBBY_LOG='%s': a word is not known; use LEVEL or TOPIC=LEVEL", spec);
}

bool log_enabled(enum log_topic topic, enum log_level level)
{
    if (!atomic_load_explicit(&configured, memory_order_acquire))
        configure_from_environment();
    return level <= (enum log_level)atomic_load_explicit(&levels[topic], memory_order_relaxed);
}

void log_write(enum log_topic topic, enum log_level level, const char *fmt, ...)
{
    int saved = errno;
    char line[1024];
    int n = snprintf(line, sizeof(line), "cubby %s %s: ", topic_names[topic], level_names[level]);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    /* A log that cannot be written has nobody to be reported to. */
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
    errno = saved;
}

bool log_limit_pass(struct log_limit *l, enum log_topic topic)
{
    uint64_t now = now_ns();
    if (now - l->window_start_ns >= NSEC_PER_SEC) {
        if (l->suppressed)
            log_warn(topic, "%u similar lines were left out", l->suppressed);
        *l = (struct log_limit){.window_start_ns = now};
    }
    if (l->in_window < LOG_BURST) {
        l->in_window++;
        return true;
    }
    l->suppressed++;
    return false;
}
