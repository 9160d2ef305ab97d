/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what follows an attempt that came to nothing.
 *
 *     it may pass, and attempts are left → the timer, then the same host
 *     else the next host                 → the timer
 *     else over
 *
 * An attempt that brought new bytes of some number starts the count of attempts anew: a large blob over a bad
 * line gets through, and a server that sends one byte at a time does not hold us for ever.
 *
 * Two failures that do not pass by themselves get one more attempt, as the cause may be ours. Bytes with a
 * wrong digest are thrown away and fetched from the start: the wrong ones may be from an earlier attempt.
 * After an answer of the wrong length or range, or 416, what is there stays, and the next request is for the
 * whole, of which the start is passed over: a server that reckons ranges wrongly costs time and no verified
 * byte.
 */
#include "base/log.h"
#include "oci/backoff.h"
#include "oci/fetch_inner.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <stdio.h>

#define PROGRESS_BYTES 65536 /* that start the count of attempts anew */

static bool may_pass(int ret)
{
    return ret == -EAGAIN || ret == -ETIMEDOUT || ret == -ECONNRESET;
}

static void try_again(struct fetch *f)
{
    uint64_t delay = backoff_ms(f->registry->config->backoff_ms, f->attempt);
    if (f->retry_after_ms > delay)
        delay = f->retry_after_ms;
    log_info(LOG_NET, "%s; again in %llu ms", f->err.text, (unsigned long long)delay);
    if (f->params.ops->retry)
        f->params.ops->retry(f->params.ctx, delay, &f->err);
    fetch_later(f, delay);
}

/* A host that could not even be talked to is not asked again by other fetches. */
static bool is_unreachable(int ret)
{
    return ret == OCI_E_NO_HOST || ret == OCI_E_REFUSED || ret == OCI_E_TLS || may_pass(ret);
}

static void next_host(struct fetch *f, int ret)
{
    log_at(LOG_NET, ret == OCI_E_NOT_FOUND ? LOG_INFO : LOG_WARN, "mirror '%s': %s", f->endpoint.name,
           f->err.text);
    if (!f->mirror_err[0])
        snprintf(f->mirror_err, sizeof(f->mirror_err), "%.*s", (int)sizeof(f->mirror_err) - 1, f->err.text);
    if (is_unreachable(ret) && f->host < 32)
        f->registry->dead_mirrors |= 1u << f->host;
    f->host++;
    f->attempt = 0;
    f->started_over = f->was_misled = f->whole = false;
    endpoint_fini(&f->endpoint);
    fetch_later(f, 0);
}

/* The class that our caller knows. */
static int class_of(int ret)
{
    if (ret == -EAGAIN)
        return OCI_E_REGISTRY;
    return may_pass(ret) ? OCI_E_STALLED : ret;
}

/* The answer was for something else: asks for the whole, once. */
static bool ask_for_all(struct fetch *f)
{
    bool first = !f->was_misled;
    f->was_misled = f->whole = true;
    return first;
}

/* What came was wrong, now or earlier: begins anew, once. */
static bool start_over(struct fetch *f)
{
    bool first = !f->started_over;
    f->started_over = true;
    if (f->params.ops->reset)
        f->params.ops->reset(f->params.ctx);
    return first;
}

void fetch_failed(struct fetch *f, int ret)
{
    bool again = may_pass(ret);
    f->resend = f->whole = false;
    if (f->own_failure || ret == -ECANCELED || ret == -ENOMEM) {
        fetch_over(f, ret);
        return;
    }
    /* What is resumed gets on; what starts again with each attempt does not, however much came. */
    if (f->got >= PROGRESS_BYTES && f->params.size >= 0) {
        f->attempt = 1;
        f->was_misled = false;
    }
    if (f->misled)
        again = ask_for_all(f);
    else if (ret == OCI_E_DIGEST)
        again = start_over(f);
    if (again && f->attempt < f->registry->config->attempts) {
        try_again(f);
        return;
    }
    if (f->endpoint.is_mirror) {
        next_host(f, ret);
        return;
    }
    f->err.code = class_of(ret);
    if (f->mirror_err[0]) {
        struct err last = f->err;
        err_set(&f->err, last.code, "%s (and a mirror: %s)", last.text, f->mirror_err);
    }
    fetch_over(f, f->err.code);
}
