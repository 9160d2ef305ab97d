/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: cubby_run() is a caller of cubby_exec_start() and what follows, with an event loop of
 * two descriptors, the execution's and the one that gives up. Both streams are always read to their end,
 * kept or not: a command whose output nobody takes would wait for ever. What is kept grows by doubling, up to
 * what the caller allows, so a command that writes without end costs no more than that.
 */
#include "base/own.h"
#include "runtime/errors.h"
#include "runtime/exec.h"
#include "runtime/options.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 16384

struct collected {
    char *bytes;
    size_t len, cap, max;
    uint64_t lost;
};

struct run {
    struct cubby_exec *x;
    struct collected out, err;
    const char *input; /* what the command has not got yet */
    size_t input_left;
    bool feeding; /* its stdin is open */
};

/* Appends, with a NUL behind. False without memory. */
static bool keep(struct collected *c, const char *data, size_t n)
{
    size_t cap = c->cap ? c->cap : CHUNK;
    while (cap <= c->len + n)
        cap *= 2;
    if (cap > c->cap) {
        char *bytes = realloc(c->bytes, cap);
        if (!bytes)
            return false;
        c->bytes = bytes;
        c->cap = cap;
    }
    memcpy(c->bytes + c->len, data, n);
    c->len += n;
    c->bytes[c->len] = '\0';
    return true;
}

/* Takes what a stream has. False without memory. */
static bool drain(struct cubby_exec *x, int stream, struct collected *c)
{
    char chunk[CHUNK];
    ssize_t n;
    while ((n = cubby_exec_read(x, stream, chunk, sizeof(chunk))) > 0) {
        size_t got = (size_t)n, room = c->max - c->len, kept = got < room ? got : room;
        if (!keep(c, chunk, kept))
            return false;
        c->lost += got - kept;
    }
    return true;
}

/* Gives the command what its stdin takes, then the end. What it refuses it does not want. */
static void feed(struct run *r)
{
    while (r->feeding && r->input_left > 0) {
        ssize_t n = cubby_exec_write(r->x, r->input, r->input_left);
        if (n == CUBBY_EAGAIN)
            return;
        if (n < 0) {
            r->feeding = false;
            return;
        }
        r->input += n;
        r->input_left -= (size_t)n;
    }
    if (r->feeding && cubby_exec_close_stdin(r->x) == 0)
        r->feeding = false;
}

/* Until the command has ended and all of its output is here. Waits only when there is nothing to do: what is
 * held here, stdin's credit as well, does not make the descriptor readable. */
static int collect(struct run *r, int cancel_fd, struct cubby_error *error)
{
    struct pollfd p[] = {{.fd = cubby_exec_fd(r->x), .events = POLLIN},
                         {.fd = cancel_fd > 0 ? cancel_fd : -1, .events = POLLIN}};
    for (;;) {
        int bits = cubby_exec_poll(r->x, 0, 0);
        int wanted = CUBBY_CAN_READ_STDOUT | CUBBY_CAN_READ_STDERR | CUBBY_IS_ENDED;
        if (r->feeding)
            wanted |= CUBBY_CAN_WRITE;
        if (poll(p, 2, bits & wanted ? 0 : -1) > 0 && p[1].revents)
            return fail(error, CUBBY_ESTOPPED, "the command was given up, by this program");
        feed(r);
        if (!drain(r->x, CUBBY_STDOUT, &r->out) || !drain(r->x, CUBBY_STDERR, &r->err))
            return fail(error, CUBBY_ERESOURCE, "no memory for the command's output");
        if (bits & CUBBY_IS_ENDED)
            return 0;
    }
}

static int run_all(struct run *r, struct cubby_box *box, struct cubby_exec_options *what,
                   struct cubby_output *o, struct cubby_error *error)
{
    if (!keep(&r->out, "", 0) || !keep(&r->err, "", 0))
        return fail(error, CUBBY_ERESOURCE, "no memory for the command's output");
    if (o->input)
        what->flags |= CUBBY_EXEC_STDIN;
    int ret = cubby_exec_start(&r->x, box, what, error);
    if (ret == 0)
        ret = collect(r, o->cancel_fd, error);
    if (ret == 0)
        ret = cubby_exec_wait(r->x, 0, &o->result, error);
    cubby_exec_free(r->x); /* one that still runs is killed */
    return ret;
}

static size_t cap_of(size_t wanted)
{
    size_t most = SIZE_MAX / 4; /* doubling does not overflow */
    return wanted == 0 ? CUBBY_OUTPUT_MAX : wanted < most ? wanted : most;
}

int cubby_run(struct cubby_box *box, const struct cubby_exec_options *options, struct cubby_output *output,
              struct cubby_error *error)
{
    struct cubby_exec_options what = {0};
    struct cubby_output o = {0};
    if (!box || !options || !output)
        return fail(error, CUBBY_EARGUMENT, "cubby_run: an argument is NULL");
    int ret = options_copy(&o, sizeof(o), sizeof(o), output, error);
    if (ret == 0)
        ret = options_copy(&what, sizeof(what), EXEC_OPTIONS_LEAST, options, error);
    if (ret < 0)
        return ret;
    o.result = (struct cubby_result){.size = sizeof(o.result)};
    what.size = sizeof(what);
    struct run r = {.out.max = cap_of(o.out_max),
                    .err.max = cap_of(o.err_max),
                    .input = o.input,
                    .input_left = o.input_len,
                    .feeding = o.input};
    if (what.flags & (CUBBY_EXEC_STDIN | CUBBY_EXEC_DETACHED))
        ret = fail(error, CUBBY_EARGUMENT,
                   "cubby_run: stdin is output.input, and a detached command is not waited for");
    else
        ret = run_all(&r, box, &what, &o, error);
    o.out = r.out.bytes;
    o.err = r.err.bytes;
    o.out_len = r.out.len;
    o.err_len = r.err.len;
    o.out_lost = r.out.lost;
    o.err_lost = r.err.lost;
    int told = options_return(output, &o, sizeof(o), NULL);
    return ret < 0 ? ret : told;
}

void cubby_output_free(struct cubby_output *output)
{
    if (!output || output->size < sizeof(*output))
        return;
    free(STEAL(output->out));
    free(STEAL(output->err));
    output->out_len = output->err_len = 0;
}
