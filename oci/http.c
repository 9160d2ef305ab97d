/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a curl multi handle is driven by base/loop.h. curl tells which sockets it wants to
 * hear of (watch_socket) and when it wants to be called next (arm_timer); both end in advance(), which lets
 * curl work and then looks for requests that are over. Callbacks of curl run inside that call, so an owner
 * hears of `head` and `body` there, and of `done` only afterwards, when it is free to start other requests.
 *
 * Redirects are followed here and not by curl: each new URL is checked like the first one, and the headers
 * are made anew. A request's easy handle, and with it the connection, is used again for that.
 *
 * Writing to a connection that the other side has closed raises SIGPIPE in this thread. A library may not
 * touch the process's signal actions, so the signal is blocked around each call of curl, and taken away if it
 * came.
 */
#include "oci/http.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/http_error.h"
#include "oci/oci_error.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define BUFFER_BYTES      (256 * 1024L)
#define REDIRECT_BODY_MAX (1024 * 1024)

struct http {
    struct loop *loop;
    const struct oci_config *config;
    CURLM *multi;
    struct loop_timer timer; /* curl's */
    struct http_request *first;
    uint64_t count;
};

struct http_request {
    struct http *http;
    struct http_request *next, *prev;
    CURL *easy;
    struct curl_slist *headers;
    struct http_params params; /* its strings are copies */
    char *url;
    struct url_origin origin;
    unsigned redirects;
    size_t header_bytes, redirect_bytes;
    bool head_given;
    uint64_t last_ns;        /* when a byte came last */
    struct loop_timer stall; /* looks at last_ns */
    int ret;                 /* a failure that was found inside a callback */
    struct err err;
    char curl_text[CURL_ERROR_SIZE];
};

/* A socket that curl wants to hear of. */
struct watch {
    struct loop_source source;
    struct http *http;
};

/* --- libcurl's work, and what comes of it ----------------------------------------------------------------
 */

static void finish(struct http_request *r, int ret);
static void complete(struct http_request *r, CURLcode code);

static void drop_sigpipe(const sigset_t *pipe_only)
{
    static const struct timespec at_once;
    while (sigtimedwait(pipe_only, NULL, &at_once) < 0 && errno == EINTR)
        ;
}

/* Lets curl act on a socket (or on its timer), without SIGPIPE. */
static void act(struct http *h, curl_socket_t fd, int what)
{
    sigset_t pipe_only, old, pending;
    int running;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
    curl_multi_socket_action(h->multi, fd, what, &running);
    sigpending(&pending);
    if (!was_pending && sigismember(&pending, SIGPIPE) == 1)
        drop_sigpipe(&pipe_only);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void advance(struct http *h, curl_socket_t fd, int what)
{
    act(h, fd, what);
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        struct http_request *r = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        curl_multi_remove_handle(h->multi, r->easy);
        complete(r, code);
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

static void request_free(struct http_request *r)
{
    loop_timer_disarm(&r->stall);
    if (r->easy)
        curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->headers);
    free((char *)r->params.accept);
    if (r->params.authorization)
        explicit_bzero((char *)r->params.authorization, strlen(r->params.authorization));
    free((char *)r->params.authorization);
    free((char *)r->params.form);
    free(r->url);
    free(r);
}

static void unlink_request(struct http_request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        r->http->first = r->next;
    if (r->next)
        r->next->prev = r->prev;
}

void http_cancel(struct http_request *r)
{
    if (!r)
        return;
    curl_multi_remove_handle(r->http->multi, r->easy);
    unlink_request(r);
    request_free(r);
}

void http_destroy(struct http *h)
{
    if (!h)
        return;
    while (h->first)
        http_cancel(h->first);
    curl_multi_cleanup(h->multi);
    loop_timer_disarm(&h->timer);
    free(h);
    curl_global_cleanup();
}

uint64_t http_count(const struct http *h)
{
    return h->count;
}

/* --- The answer, as it comes in --------------------------------------------------------------------------
 */

static bool is_redirect(const struct http_request *r)
{
    int status = http_status(r);
    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           http_header(r, "Location", 0);
}

/* Tells the owner of the answer, once. */
static int give_head(struct http_request *r)
{
    if (r->head_given)
        return r->ret;
    r->head_given = true;
    if (r->params.ops->head)
        r->ret = r->params.ops->head(r->params.ctx, r, &r->err);
    return r->ret;
}

/* CURLOPT_HEADERFUNCTION: only counts; curl keeps the headers themselves. */
static size_t take_header(char *data, size_t size, size_t n, void *ctx)
{
    struct http_request *r = ctx;
    (void)data;
    r->last_ns = now_ns();
    r->header_bytes += size * n;
    if (r->header_bytes <= HTTP_HEADERS_MAX)
        return size * n;
    r->ret = err_set(&r->err, OCI_E_REGISTRY, "'%s' answers with more than %d bytes of headers",
                     r->origin.host, HTTP_HEADERS_MAX);
    return 0;
}

/* CURLOPT_WRITEFUNCTION */
static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct http_request *r = ctx;
    size_t len = size * n;
    r->last_ns = now_ns();
    if (is_redirect(r)) {
        r->redirect_bytes += len;
        return r->redirect_bytes <= REDIRECT_BODY_MAX ? len : 0;
    }
    if (give_head(r) == 0 && r->params.ops->body)
        r->ret = r->params.ops->body(r->params.ctx, data, len, &r->err);
    return r->ret < 0 ? 0 : len;
}

int http_status(const struct http_request *r)
{
    long status = 0;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

const char *http_header(const struct http_request *r, const char *name, unsigned nth)
{
    struct curl_header *h;
    return curl_easy_header(r->easy, name, nth, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

int64_t http_content_length(const struct http_request *r)
{
    curl_off_t length = -1;
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length;
}

int64_t http_range_start(const struct http_request *r)
{
    const char *range = http_header(r, "Content-Range", 0);
    long long start;
    return range && sscanf(range, "bytes %lld-", &start) == 1 && start >= 0 ? start : -1;
}

const struct url_origin *http_origin(const struct http_request *r)
{
    return &r->origin;
}

/* --- Sending ---------------------------------------------------------------------------------------------
 */

static void stall_due(struct loop_timer *t)
{
    struct http_request *r = CONTAINER_OF(t, struct http_request, stall);
    uint64_t limit = r->http->config->stall_timeout_ms * NSEC_PER_MSEC, quiet = now_ns() - r->last_ns;
    if (quiet < limit && loop_timer_arm(r->http->loop, t, limit - quiet, stall_due) == 0)
        return;
    curl_multi_remove_handle(r->http->multi, r->easy);
    finish(r, err_set(&r->err, -ETIMEDOUT, "'%s' sent nothing for %llu ms", r->origin.host,
                      (unsigned long long)r->http->config->stall_timeout_ms));
}

static int add_header(struct http_request *r, const char *name, const char *value)
{
    CLEANUP(mem_freep) char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    struct curl_slist *more = curl_slist_append(r->headers, line);
    explicit_bzero(line, strlen(line));
    if (!more)
        return -ENOMEM;
    r->headers = more;
    return 0;
}

/* Headers of the request at r->origin. 0 or -ENOMEM. */
static int make_headers(struct http_request *r)
{
    curl_slist_free_all(r->headers);
    r->headers = NULL;
    int ret = add_header(r, "User-Agent", "cubby/" CUBBY_VERSION);
    if (ret == 0 && r->params.accept)
        ret = add_header(r, "Accept", r->params.accept);
    if (ret == 0 && r->params.authorization)
        ret = add_header(r, "Authorization", r->params.authorization);
    return ret;
}

static void set_options(struct http_request *r)
{
    CURL *c = r->easy;
    const struct oci_config *config = r->http->config;
    const char *ca_file = oci_config_ca_file(config, &r->origin);
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_PRIVATE, r);
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, r->origin.https ? "https" : "http");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* cancelling does not wait for the name server */
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->curl_text);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)config->connect_timeout_ms);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    if (ca_file) {
        curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
    if (r->params.head)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (r->params.form)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->params.form);
    if (r->params.offset) {
        char range[32];
        snprintf(range, sizeof(range), "%llu-", (unsigned long long)r->params.offset);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

/* Takes over `url`, checks where it leads, and hands the request to curl. */
static int send_to(struct http_request *r, char *url, struct err *e)
{
    free(r->url);
    r->url = url;
    int ret = url ? url_origin_parse(&r->origin, url, e) : err_set(e, -ENOMEM, "no memory for a URL");
    if (ret < 0)
        return ret;
    if (!r->origin.https && !oci_config_allows_http(r->http->config, &r->origin))
        return err_set(e, OCI_E_TLS,
                       "plain http to '%s' is refused: it is not named insecure in the configuration",
                       r->origin.host);
    r->header_bytes = r->redirect_bytes = 0;
    r->curl_text[0] = '\0';
    r->last_ns = now_ns();
    if (make_headers(r) < 0)
        return err_set(e, -ENOMEM, "cannot send a request to '%s': no memory", r->origin.host);
    set_options(r);
    log_debug(LOG_NET, "%s %s%s",
              r->params.form   ? "POST"
              : r->params.head ? "HEAD"
                               : "GET",
              r->url, r->params.authorization ? " (with authorization)" : "");
    CURLMcode code = curl_multi_add_handle(r->http->multi, r->easy);
    if (code != CURLM_OK)
        return err_set(e, -ENOMEM, "cannot send a request to '%s': %s", r->origin.host,
                       curl_multi_strerror(code));
    r->http->count++;
    return 0;
}

static int copy_text(const char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

static int copy_params(struct http_request *r, const struct http_params *p)
{
    int ret = copy_text(&r->params.accept, p->accept);
    if (ret == 0)
        ret = copy_text(&r->params.authorization, p->authorization);
    if (ret == 0)
        ret = copy_text(&r->params.form, p->form);
    r->params.url = NULL; /* see r->url */
    r->params.head = p->head;
    r->params.offset = p->offset;
    r->params.ops = p->ops;
    r->params.ctx = p->ctx;
    return ret;
}

int http_start(struct http *h, const struct http_params *p, struct http_request **out, struct err *e)
{
    struct http_request *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(e, -ENOMEM, "cannot send a request: no memory");
    r->http = h;
    r->easy = curl_easy_init();
    int ret = r->easy ? copy_params(r, p) : -ENOMEM;
    if (ret == 0)
        ret = loop_timer_arm(h->loop, &r->stall, h->config->stall_timeout_ms * NSEC_PER_MSEC, stall_due);
    if (ret < 0)
        err_set(e, ret, "cannot send a request: no memory");
    else
        ret = send_to(r, strdup(p->url), e);
    if (ret < 0) {
        request_free(r);
        return ret;
    }
    r->next = h->first;
    if (h->first)
        h->first->prev = r;
    h->first = r;
    *out = r;
    return 0;
}

/* --- The end ---------------------------------------------------------------------------------------------
 */

static void finish(struct http_request *r, int ret)
{
    unlink_request(r);
    loop_timer_disarm(&r->stall);
    r->params.ops->done(r->params.ctx, r, ret, &r->err);
    request_free(r);
}

/* Sends the request once more, to where the answer points. */
static int follow(struct http_request *r)
{
    char *next = NULL;
    struct url_origin origin;
    struct err why = {0};
    curl_easy_getinfo(r->easy, CURLINFO_REDIRECT_URL, &next);
    if (r->params.form)
        return err_set(&r->err, OCI_E_REGISTRY, "'%s' redirects a request that holds secrets",
                       r->origin.host);
    if (++r->redirects > HTTP_REDIRECTS_MAX)
        return err_set(&r->err, OCI_E_REGISTRY, "'%s' redirects more than %d times", r->origin.host,
                       HTTP_REDIRECTS_MAX);
    if (!next || url_origin_parse(&origin, next, &why) < 0)
        return err_set(&r->err, OCI_E_REGISTRY, "'%s' redirects to nowhere: %s", r->origin.host, why.text);
    if (r->origin.https && !origin.https)
        return err_set(&r->err, OCI_E_TLS, "'%s' redirects from https to http, to '%s'", r->origin.host,
                       origin.host);
    if (!url_origin_equal(&origin, &r->origin)) {
        free((char *)r->params.authorization);
        r->params.authorization = NULL;
    }
    return send_to(r, strdup(next), &r->err);
}

/* curl is done with the request. */
static void complete(struct http_request *r, CURLcode code)
{
    if (r->ret == 0 && code == CURLE_OK && is_redirect(r)) {
        int ret = follow(r);
        if (ret < 0)
            finish(r, ret);
        return;
    }
    if (r->ret == 0 && code == CURLE_OK)
        give_head(r); /* an answer without a body */
    if (r->ret == 0 && code != CURLE_OK)
        r->ret = http_error(r->easy, code, r->origin.host, r->curl_text, &r->err);
    finish(r, r->ret);
}
