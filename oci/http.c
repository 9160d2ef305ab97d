/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a curl multi handle is driven by base/loop.h. curl tells which sockets it wants to
 * hear of (watch_socket) and when it wants to be called next (arm_timer); both end in advance(), which lets
 * curl work and then looks for requests that are over. Callbacks of curl run inside that call, so an owner
 * hears of `head` and `body` there, and of `done` only afterwards, when it is free to start other requests.
 *
 * Writing to a connection that the other side has closed raises SIGPIPE in this thread. A library may not
 * touch the process's signal actions, so the signal is held back around each call of curl that may write.
 */
#include "base/io.h"
#include "base/own.h"
#include "oci/http_inner.h"
#include "oci/sigpipe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* A socket that curl wants to hear of. */
struct watch {
    struct loop_source source;
    struct http *http;
};

/* --- libcurl's work, and what comes of it --- */

/* Lets curl act on a socket (or on its timer). */
static void act(struct http *h, curl_socket_t fd, int what)
{
    struct sigpipe guard;
    int running;
    sigpipe_hold(&guard);
    curl_multi_socket_action(h->multi, fd, what, &running);
    sigpipe_release(&guard);
}

/* May close a connection, which in TLS writes a farewell. */
void http_remove(struct http_request *r)
{
    struct sigpipe guard;
    sigpipe_hold(&guard);
    curl_multi_remove_handle(r->http->multi, r->easy);
    sigpipe_release(&guard);
}

static void advance(struct http *h, curl_socket_t fd, int what)
{
    act(h, fd, what);
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        struct http_request *r = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        http_remove(r);
        http_request_complete(r, code);
    }
}

static void socket_ready(struct loop_source *s, uint32_t events)
{
    struct watch *w = CONTAINER_OF(s, struct watch, source);
    int what = (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    advance(w->http, s->fd, what); /* `w` may be gone after this */
}

static void timer_due(struct loop_timer *t)
{
    advance(CONTAINER_OF(t, struct http, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_SOCKETFUNCTION */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *of_socket)
{
    struct http *h = ctx;
    struct watch *w = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            loop_remove(&w->source);
        free(w);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (w)
        return loop_modify(&w->source, events) < 0 ? -1 : 0;
    w = calloc(1, sizeof(*w));
    if (!w)
        return -1;
    w->http = h;
    if (loop_add(h->loop, &w->source, fd, events, socket_ready) < 0) {
        free(w);
        return -1;
    }
    curl_multi_assign(h->multi, fd, w);
    return 0;
}

/* CURLMOPT_TIMERFUNCTION */
static int arm_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct http *h = ctx;
    (void)multi;
    loop_timer_disarm(&h->timer);
    if (timeout_ms < 0)
        return 0;
    return loop_timer_arm(h->loop, &h->timer, (uint64_t)timeout_ms * NSEC_PER_MSEC, timer_due) < 0 ? -1 : 0;
}

int http_create(struct http **out, struct loop *loop, const struct oci_config *config, struct err *e)
{
    /* Counted and thread-safe (curl 7.84); http_destroy() gives it back. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, -ENOMEM, "cannot initialise libcurl");
    struct http *h = calloc(1, sizeof(*h));
    if (h)
        h->multi = curl_multi_init();
    if (!h || !h->multi) {
        free(h);
        curl_global_cleanup();
        return err_set(e, -ENOMEM, "cannot create an HTTP client: no memory");
    }
    h->loop = loop;
    h->config = config;
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, arm_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    *out = h;
    return 0;
}

void http_destroy(struct http *h)
{
    if (!h)
        return;
    while (h->first)
        http_cancel(h->first);
    struct sigpipe guard;
    sigpipe_hold(&guard);
    curl_multi_cleanup(h->multi);
    sigpipe_release(&guard);
    loop_timer_disarm(&h->timer);
    free(h);
    curl_global_cleanup();
}

uint64_t http_count(const struct http *h)
{
    return h->count;
}

const struct oci_config *http_config(const struct http *h)
{
    return h->config;
}
