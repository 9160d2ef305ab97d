/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: decoding goes over the fields twice. The first pass checks every field and counts the
 * arguments and variables; only then, with counts that real bytes stand behind, is the one block for their
 * pointers allocated, and the second pass fills it. Encoding checks the same ranges through the same
 * functions, so that what the encoder lets through the decoder accepts.
 */
#include "proto/exec.h"

#include "proto/msg.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_HEADER  6u
#define ONCE_TAGS_END (EXEC_TAG_STOP_SIGNAL + 1)

struct counts {
    uint32_t args, envs;
    uint32_t seen;      /* bit per tag that may come once */
    uint32_t resources; /* bit per resource limited */
};

struct field {
    uint16_t tag;
    const uint8_t *data;
    uint32_t len;
};

/* 1 with the next field, 0 at the end, -EPROTO when it is cut. */
static int next_field(struct reader *r, struct field *f, struct err *e)
{
    if (reader_left(r) == 0)
        return 0;
    f->tag = read_u16(r);
    f->len = read_u32(r);
    f->data = read_bytes(r, f->len);
    return f->data ? 1 : err_set(e, -EPROTO, "EXEC ends inside a field (tag %u)", f->tag);
}

/* The string of a field: its only NUL is its last byte, and it has at most `max` bytes before that. */
static int field_string(const struct field *f, const char *what, uint32_t max, const char **out,
                        struct err *e)
{
    if (f->len == 0 || memchr(f->data, 0, f->len) != f->data + f->len - 1)
        return err_set(e, -EPROTO, "%s is not a string that ends with its only NUL", what);
    if (f->len - 1 > max)
        return err_set(e, -E2BIG, "%s has %u bytes, at most %u are allowed", what, f->len - 1, max);
    *out = (const char *)f->data;
    return 0;
}

/* --- What a request may ask for; both directions. Codes are those of the encoder. --- */

static int check_env(const char *var, struct err *e)
{
    const char *eq = strchr(var, '=');
    if (!eq || eq == var)
        return err_set(e, -EINVAL, "environment entry '%.64s' is not NAME=value", var);
    return 0;
}

static int check_rlimit(const struct exec_rlimit *l, uint32_t *seen, struct err *e)
{
    if (l->resource >= EXEC_RLIMITS_MAX)
        return err_set(e, -EINVAL, "there is no resource %u to limit", l->resource);
    if (*seen & 1u << l->resource)
        return err_set(e, -EINVAL, "resource %u is limited twice", l->resource);
    if (l->soft > l->hard)
        return err_set(e, -EINVAL, "the soft limit of resource %u is above its hard limit", l->resource);
    *seen |= 1u << l->resource;
    return 0;
}

static int check_numbers(const struct exec_request *q, struct err *e)
{
    if (q->tty && (!q->rows || !q->cols))
        return err_set(e, -EINVAL, "a terminal has at least 1 row and 1 column, not %ux%u", q->rows, q->cols);
    if (q->timeout_ms > EXEC_TIMEOUT_MAX_MS)
        return err_set(e, -EINVAL, "the timeout is longer than %llu ms",
                       (unsigned long long)EXEC_TIMEOUT_MAX_MS);
    if (q->grace_ms > EXEC_GRACE_MAX_MS)
        return err_set(e, -EINVAL, "the grace period is longer than %u ms", EXEC_GRACE_MAX_MS);
    if (q->stop_signal > EXEC_SIGNAL_MAX)
        return err_set(e, -EINVAL, "there is no signal %u to stop by", q->stop_signal);
    if (q->cpu_millis > EXEC_CPU_MAX_MILLIS)
        return err_set(e, -EINVAL, "the CPU limit is above %u thousandths", EXEC_CPU_MAX_MILLIS);
    if (q->window_out > STREAM_WINDOW_MAX || q->window_err > STREAM_WINDOW_MAX)
        return err_set(e, -EINVAL, "an initial window is larger than %u bytes", STREAM_WINDOW_MAX);
    return 0;
}

static int check_request(const struct exec_request *q, struct err *e)
{
    if (q->flags & ~(uint32_t)EXEC_FLAGS_ALL)
        return err_set(e, -EINVAL, "unknown flags %#x", q->flags & ~(uint32_t)EXEC_FLAGS_ALL);
    if (q->tty && q->flags & EXEC_STDERR)
        return err_set(e, -EINVAL, "with a terminal there is no separate stderr");
    if (q->cwd && q->cwd[0] != '/')
        return err_set(e, -EINVAL, "the working directory '%.64s' is not absolute", q->cwd);
    if (q->user && !q->user[0])
        return err_set(e, -EINVAL, "the user is an empty string");
    if (q->backlog > EXEC_BACKLOG_MAX)
        return err_set(e, -EINVAL, "the backlog is larger than %u bytes", EXEC_BACKLOG_MAX);
    if (q->backlog && !(q->flags & EXEC_DETACHED))
        return err_set(e, -EINVAL, "a backlog is only for a detached execution");
    return check_numbers(q, e);
}

/* --- Decoder --- */

/* What is an invalid argument to the encoder is a broken peer to the decoder; the text is the same. */
static int malformed(struct err *e)
{
    if (e)
        e->code = -EPROTO;
    return -EPROTO;
}

/* Fields of fixed size: all their bytes, or -EPROTO. */
static int decode_fixed(struct exec_request *q, const struct field *f, struct counts *n, struct err *e)
{
    struct reader r = reader_of(f->data, f->len);
    struct exec_rlimit limit = {0};
    switch (f->tag) {
    case EXEC_TAG_TTY:
        q->tty = true;
        q->rows = read_u16(&r);
        q->cols = read_u16(&r);
        break;
    case EXEC_TAG_TIMEOUT_MS:
        q->timeout_ms = read_u64(&r);
        break;
    case EXEC_TAG_GRACE_MS:
        q->grace_ms = read_u32(&r);
        break;
    case EXEC_TAG_RLIMIT:
        limit.resource = read_u32(&r);
        limit.soft = read_u64(&r);
        limit.hard = read_u64(&r);
        break;
    case EXEC_TAG_LIMITS:
        q->memory_max = read_u64(&r);
        q->pids_max = read_u32(&r);
        q->cpu_millis = read_u32(&r);
        break;
    case EXEC_TAG_FLAGS:
        q->flags = read_u32(&r);
        break;
    case EXEC_TAG_WINDOWS:
        q->window_out = read_u32(&r);
        q->window_err = read_u32(&r);
        break;
    case EXEC_TAG_BACKLOG:
        q->backlog = read_u32(&r);
        break;
    case EXEC_TAG_STOP_SIGNAL:
        q->stop_signal = read_u8(&r);
        break;
    default:
        return err_set(e, -EPROTO, "EXEC has a field with unknown tag %u", f->tag);
    }
    if (!reader_done(&r))
        return err_set(e, -EPROTO, "the EXEC field with tag %u has a wrong length (%u)", f->tag, f->len);
    if (f->tag == EXEC_TAG_STOP_SIGNAL && !q->stop_signal)
        return err_set(e, -EPROTO, "there is no signal 0 to stop by");
    if (f->tag != EXEC_TAG_RLIMIT)
        return 0;
    if (check_rlimit(&limit, &n->resources, e) < 0)
        return malformed(e);
    q->rlimit[q->rlimit_count++] = limit; /* in bounds: each resource came once */
    return 0;
}

static int decode_field(struct exec_request *q, const struct field *f, struct counts *n, struct err *e)
{
    const char *text = "";
    int ret;
    switch (f->tag) {
    case EXEC_TAG_ARG:
        if (++n->args > EXEC_ARGS_MAX)
            return err_set(e, -E2BIG, "more than %u arguments", EXEC_ARGS_MAX);
        return field_string(f, "an argument", EXEC_STRING_MAX, &text, e);
    case EXEC_TAG_ENV:
        if (++n->envs > EXEC_ENVS_MAX)
            return err_set(e, -E2BIG, "more than %u environment entries", EXEC_ENVS_MAX);
        ret = field_string(f, "an environment entry", EXEC_STRING_MAX, &text, e);
        return ret == 0 && check_env(text, e) < 0 ? malformed(e) : ret;
    case EXEC_TAG_CWD:
        return field_string(f, "the working directory", EXEC_CWD_MAX, &q->cwd, e);
    case EXEC_TAG_USER:
        return field_string(f, "the user", EXEC_USER_MAX, &q->user, e);
    default:
        return decode_fixed(q, f, n, e);
    }
}

static bool may_repeat(uint16_t tag)
{
    return tag == EXEC_TAG_ARG || tag == EXEC_TAG_ENV || tag == EXEC_TAG_RLIMIT;
}

/* First pass: checks all, fills in all but argv and envp. */
static int decode_fields(struct exec_request *q, struct reader r, struct counts *n, struct err *e)
{
    struct field f;
    int ret;
    while ((ret = next_field(&r, &f, e)) > 0) {
        if (f.tag < ONCE_TAGS_END && !may_repeat(f.tag)) {
            if (n->seen & 1u << f.tag)
                return err_set(e, -EPROTO, "EXEC has the field with tag %u twice", f.tag);
            n->seen |= 1u << f.tag;
        }
        ret = decode_field(q, &f, n, e);
        if (ret < 0)
            return ret;
    }
    if (ret == 0 && n->args == 0)
        return err_set(e, -EPROTO, "EXEC has no argument, not even the command");
    return ret;
}

/* Second pass: the pointers. The fields were checked. */
static int collect_strings(struct exec_request *q, struct reader r, const struct counts *n, struct err *e)
{
    size_t total = (size_t)n->args + 1 + n->envs + 1;
    const char **block = calloc(total, sizeof(*block));
    if (!block)
        return err_set(e, -ENOMEM, "no memory for %zu argument pointers", total);
    const char **arg = block, **env = block + n->args + 1;
    q->argv = arg;
    q->envp = env;
    q->owned = block;
    struct field f;
    while (next_field(&r, &f, NULL) > 0) {
        if (f.tag == EXEC_TAG_ARG)
            *arg++ = (const char *)f.data;
        else if (f.tag == EXEC_TAG_ENV)
            *env++ = (const char *)f.data;
    }
    return 0;
}

int exec_request_decode(struct exec_request *q, const void *payload, size_t len, struct err *e)
{
    *q = (struct exec_request){.grace_ms = EXEC_GRACE_DEFAULT_MS, .stop_signal = SIGTERM};
    struct counts n = {0};
    int ret = decode_fields(q, reader_of(payload, len), &n, e);
    if (ret < 0)
        return ret;
    if (check_request(q, e) < 0)
        return malformed(e);
    return collect_strings(q, reader_of(payload, len), &n, e);
}

void exec_request_fini(struct exec_request *q)
{
    free(q->owned);
    *q = (struct exec_request){0};
}

/* --- Encoder --- */

static size_t strings_size(const char *const *list)
{
    size_t total = 0;
    for (; list && *list; list++)
        total += FIELD_HEADER + strlen(*list) + 1;
    return total;
}

size_t exec_request_size(const struct exec_request *q)
{
    size_t total = FRAME_HEADER + strings_size(q->argv) + strings_size(q->envp);
    if (q->cwd)
        total += FIELD_HEADER + strlen(q->cwd) + 1;
    if (q->user)
        total += FIELD_HEADER + strlen(q->user) + 1;
    if (q->tty)
        total += FIELD_HEADER + 4;
    if (q->timeout_ms)
        total += FIELD_HEADER + 8;
    if (q->backlog)
        total += FIELD_HEADER + 4;
    if (q->stop_signal)
        total += FIELD_HEADER + 1;
    total += q->rlimit_count * (FIELD_HEADER + (size_t)20);
    return total + (FIELD_HEADER + 4) + (FIELD_HEADER + 16) + (FIELD_HEADER + 4) + (FIELD_HEADER + 8);
}

struct list_rule {
    const char *one, *many;
    uint32_t max;
};

static int check_strings(const char *const *list, const struct list_rule *rule, struct err *e)
{
    uint32_t count = 0;
    for (; list && *list; list++) {
        if (++count > rule->max)
            return err_set(e, -E2BIG, "more than %u %s", rule->max, rule->many);
        if (strlen(*list) > EXEC_STRING_MAX)
            return err_set(e, -E2BIG, "%s %u has more than %u bytes", rule->one, count, EXEC_STRING_MAX);
    }
    return 0;
}

static int check_encodable(const struct exec_request *q, struct err *e)
{
    if (!q->argv || !q->argv[0])
        return err_set(e, -EINVAL, "there is no command to run");
    static const struct list_rule args = {"argument", "arguments", EXEC_ARGS_MAX};
    static const struct list_rule envs = {"environment entry", "environment entries", EXEC_ENVS_MAX};
    int ret = check_strings(q->argv, &args, e);
    if (ret == 0)
        ret = check_strings(q->envp, &envs, e);
    for (const char *const *env = q->envp; ret == 0 && env && *env; env++)
        ret = check_env(*env, e);
    if (ret < 0)
        return ret;
    if (q->cwd && strlen(q->cwd) > EXEC_CWD_MAX)
        return err_set(e, -E2BIG, "the working directory has more than %u bytes", EXEC_CWD_MAX);
    if (q->user && strlen(q->user) > EXEC_USER_MAX)
        return err_set(e, -E2BIG, "the user has more than %u bytes", EXEC_USER_MAX);
    if (q->rlimit_count > EXEC_RLIMITS_MAX)
        return err_set(e, -E2BIG, "more than %u resource limits", EXEC_RLIMITS_MAX);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < q->rlimit_count; i++)
        if (check_rlimit(&q->rlimit[i], &seen, e) < 0)
            return -EINVAL;
    return check_request(q, e);
}

static void put_field(struct writer *w, enum exec_tag tag, size_t len)
{
    write_u16(w, (uint16_t)tag);
    write_u32(w, (uint32_t)len);
}

static void put_string(struct writer *w, enum exec_tag tag, const char *s)
{
    size_t len = strlen(s) + 1;
    put_field(w, tag, len);
    write_bytes(w, s, len);
}

static void put_numbers(struct writer *w, const struct exec_request *q)
{
    if (q->tty) {
        put_field(w, EXEC_TAG_TTY, 4);
        write_u16(w, q->rows);
        write_u16(w, q->cols);
    }
    if (q->timeout_ms) {
        put_field(w, EXEC_TAG_TIMEOUT_MS, 8);
        write_u64(w, q->timeout_ms);
    }
    if (q->backlog) {
        put_field(w, EXEC_TAG_BACKLOG, 4);
        write_u32(w, q->backlog);
    }
    if (q->stop_signal) {
        put_field(w, EXEC_TAG_STOP_SIGNAL, 1);
        write_u8(w, q->stop_signal);
    }
    for (uint32_t i = 0; i < q->rlimit_count; i++) {
        put_field(w, EXEC_TAG_RLIMIT, 20);
        write_u32(w, q->rlimit[i].resource);
        write_u64(w, q->rlimit[i].soft);
        write_u64(w, q->rlimit[i].hard);
    }
    put_field(w, EXEC_TAG_GRACE_MS, 4);
    write_u32(w, q->grace_ms);
    put_field(w, EXEC_TAG_LIMITS, 16);
    write_u64(w, q->memory_max);
    write_u32(w, q->pids_max);
    write_u32(w, q->cpu_millis);
    put_field(w, EXEC_TAG_FLAGS, 4);
    write_u32(w, q->flags);
    put_field(w, EXEC_TAG_WINDOWS, 8);
    write_u32(w, q->window_out);
    write_u32(w, q->window_err);
}

int exec_request_encode(const struct exec_request *q, void *buf, size_t cap, struct err *e)
{
    int ret = check_encodable(q, e);
    if (ret < 0)
        return ret;
    size_t size = exec_request_size(q);
    if (size - FRAME_HEADER > EXEC_PAYLOAD_MAX)
        return err_set(e, -E2BIG, "arguments and environment take %zu bytes, at most %u are allowed",
                       size - FRAME_HEADER, EXEC_PAYLOAD_MAX);
    if (cap < size)
        return err_set(e, -ENOSPC, "no room for an EXEC frame of %zu bytes", size);
    struct writer w = frame_begin(buf, cap);
    for (const char *const *arg = q->argv; *arg; arg++)
        put_string(&w, EXEC_TAG_ARG, *arg);
    for (const char *const *env = q->envp; env && *env; env++)
        put_string(&w, EXEC_TAG_ENV, *env);
    if (q->cwd)
        put_string(&w, EXEC_TAG_CWD, q->cwd);
    if (q->user)
        put_string(&w, EXEC_TAG_USER, q->user);
    put_numbers(&w, q);
    return frame_end(&w, FRAME_EXEC) ? 0 : err_set(e, -ENOSPC, "no room for an EXEC frame");
}
