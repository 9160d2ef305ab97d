/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client against a server on the same loop, which sends what the test wrote down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "oci/http.h"
#include "oci/oci_error.h"
#include "oci/sigpipe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_NS (10 * NSEC_PER_SEC)
#define STALL_MS    300
#define AWAY_MS     600

/* Answers each request, one a connection, with the next of its answers. */
struct server {
    struct loop_source listening, talking;
    const char *answer[8];
    size_t asked;
    char request[8][2048];
    int port;
};

struct place {
    struct loop *loop;
    struct oci_config config;
    struct http *http;
    struct server one, two;
    char url[64];
};

/* What came of a request. */
struct outcome {
    struct place *place;
    int status, ret, heads, dones;
    int head_says; /* what `head` returns */
    size_t len;
    char body[256], type[64];
    struct err err;
    struct outcome *next; /* started when this one is done */
    struct server *late;  /* answers while we are away, for AWAY_MS, when the first byte of the body comes */
};

static void talk(struct loop_source *s, uint32_t events)
{
    struct server *v = CONTAINER_OF(s, struct server, talking);
    int fd = s->fd;
    (void)events;
    ssize_t n = read(fd, v->request[v->asked], sizeof(v->request[0]) - 1);
    const char *answer = n > 0 ? v->answer[v->asked] : NULL;
    v->asked += n > 0;
    if (answer && write(fd, answer, strlen(answer)) < 0)
        fail();
    if (answer || n <= 0) {
        loop_remove(s);
        close(fd);
    }
}

static void welcome(struct loop_source *s, uint32_t events)
{
    struct server *v = CONTAINER_OF(s, struct server, listening);
    (void)events;
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    if (v->talking.loop) {
        close(v->talking.fd);
        loop_remove(&v->talking);
    }
    assert_int_equal(loop_add(s->loop, &v->talking, fd, EPOLLIN, talk), 0);
}

static void serve(struct place *p, struct server *v)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    char name[32];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    v->port = ntohs(sa.sin_port);
    assert_int_equal(loop_add(p->loop, &v->listening, fd, EPOLLIN, welcome), 0);
    snprintf(name, sizeof(name), "127.0.0.1:%d", v->port);
    assert_int_equal(oci_config_add_insecure(&p->config, name, NULL), 0);
}

static void stop(struct server *v)
{
    if (v->talking.loop)
        close(v->talking.fd);
    loop_remove(&v->talking);
    close(v->listening.fd);
    loop_remove(&v->listening);
}

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    unsetenv("http_proxy");
    oci_config_init(&p->config);
    p->config.stall_timeout_ms = STALL_MS;
    if (loop_create(&p->loop, NULL) < 0)
        return -1;
    serve(p, &p->one);
    serve(p, &p->two);
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%d/x", p->one.port);
    *state = p;
    return http_create(&p->http, p->loop, &p->config, NULL);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    http_destroy(p->http);
    stop(&p->one);
    stop(&p->two);
    loop_destroy(p->loop);
    oci_config_fini(&p->config);
    free(p);
    return 0;
}

static void start(struct place *p, struct outcome *o, struct http_params params);

static int on_head(void *ctx, const struct http_request *r, struct err *e)
{
    struct outcome *o = ctx;
    const char *type = http_header(r, "content-type", 0);
    o->heads++;
    o->status = http_status(r);
    snprintf(o->type, sizeof(o->type), "%s", type ? type : "");
    return o->head_says < 0 ? err_set(e, o->head_says, "said the head") : 0;
}

static int on_body(void *ctx, const void *data, size_t len, struct err *e)
{
    struct outcome *o = ctx;
    (void)e;
    assert_int_equal(o->heads, 1);
    assert_true(o->len + len < sizeof(o->body));
    memcpy(o->body + o->len, data, len);
    o->len += len;
    if (o->late) {
        const char *answer = o->late->answer[7];
        assert_int_equal(write(o->late->talking.fd, answer, strlen(answer)), strlen(answer));
        o->late = NULL;
        usleep(AWAY_MS * 1000);
    }
    return 0;
}

static void on_done(void *ctx, const struct http_request *r, int ret, const struct err *e)
{
    struct outcome *o = ctx;
    (void)r;
    o->dones++;
    o->ret = ret;
    o->err = *e;
    if (o->next)
        start(o->place, o->next, (struct http_params){.url = o->place->url});
}

static void start(struct place *p, struct outcome *o, struct http_params params)
{
    static const struct http_ops ops = {on_head, on_body, on_done};
    struct http_request *r;
    struct err e = {0};
    o->place = p;
    params.ops = &ops;
    params.ctx = o;
    if (http_start(p->http, &params, &r, &e) < 0)
        fail_msg("%s", e.text);
}

static void run(struct place *p, const struct outcome *o)
{
    uint64_t end = now_ns() + DEADLINE_NS;
    while (!o->dones) {
        assert_true(now_ns() < end);
        assert_int_equal(loop_once(p->loop, 1000), 0);
    }
}

static void an_answer_comes_in_order(void **state)
{
    struct place *p = *state;
    struct outcome o = {0};
    p->one.answer[0] = "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello";
    start(p, &o,
          (struct http_params){.url = p->url, .accept = "a/b", .authorization = "Basic eA==", .offset = 7});
    run(p, &o);
    assert_int_equal(o.ret, 0);
    assert_int_equal(o.heads, 1);
    assert_int_equal(o.dones, 1);
    assert_int_equal(o.status, 200);
    assert_string_equal(o.type, "text/x");
    assert_string_equal(o.body, "hello");
    assert_non_null(strstr(p->one.request[0], "GET /x HTTP/1.1\r\n"));
    assert_non_null(strstr(p->one.request[0], "\r\nAccept: a/b\r\n"));
    assert_non_null(strstr(p->one.request[0], "\r\nAuthorization: Basic eA==\r\n"));
    assert_non_null(strstr(p->one.request[0], "\r\nRange: bytes=7-\r\n"));
    assert_non_null(strstr(p->one.request[0], "\r\nUser-Agent: cubby/"));
    assert_int_equal(http_count(p->http), 1);
}

static void statuses_without_a_body_are_answers_too(void **state)
{
    struct place *p = *state;
    struct outcome o = {0}, head = {0};
    p->one.answer[0] = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    start(p, &o, (struct http_params){.url = p->url});
    run(p, &o);
    assert_int_equal(o.ret, 0);
    assert_int_equal(o.status, 404);
    p->one.answer[1] = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n";
    start(p, &head, (struct http_params){.url = p->url, .head = true});
    run(p, &head);
    assert_int_equal(head.ret, 0);
    assert_int_equal(head.status, 200);
    assert_non_null(strstr(p->one.request[1], "HEAD /x"));
}

static void an_owner_may_end_it_and_start_another(void **state)
{
    struct place *p = *state;
    struct outcome second = {0}, first = {.head_says = -ENOSPC, .next = &second};
    p->one.answer[0] = p->one.answer[1] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    start(p, &first, (struct http_params){.url = p->url});
    run(p, &second);
    assert_int_equal(first.ret, -ENOSPC);
    assert_string_equal(first.err.text, "said the head");
    assert_int_equal(first.len, 0);
    assert_int_equal(second.ret, 0);
    assert_string_equal(second.body, "ok");
}

static void what_is_cancelled_says_nothing(void **state)
{
    struct place *p = *state;
    static const struct http_ops ops = {on_head, on_body, on_done};
    struct outcome o = {0}, left = {0};
    struct http_request *r;
    struct http_params params = {.url = p->url, .ops = &ops, .ctx = &o};
    assert_int_equal(http_start(p->http, &params, &r, NULL), 0);
    assert_int_equal(loop_once(p->loop, 100), 0);
    http_cancel(r);
    http_cancel(NULL);
    assert_int_equal(o.dones, 0);
    start(p, &left, (struct http_params){.url = p->url}); /* http_destroy() ends it */
    assert_int_equal(loop_once(p->loop, 100), 0);
}

static void silence_is_a_failure_and_slowness_is_none(void **state)
{
    struct place *p = *state;
    struct outcome o = {0};
    uint64_t begin = now_ns();
    start(p, &o, (struct http_params){.url = p->url}); /* there is no answer */
    run(p, &o);
    assert_int_equal(o.ret, -ETIMEDOUT);
    assert_non_null(strstr(o.err.text, "sent nothing for 300 ms"));
    assert_true(now_ns() - begin >= 300 * NSEC_PER_MSEC);
}

/* As while a blob is hashed again in the middle of other downloads. */
static void our_own_long_work_is_not_the_hosts_silence(void **state)
{
    struct place *p = *state;
    struct outcome other = {0}, o = {.late = &p->two};
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/y", p->two.port);
    p->one.answer[0] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
    p->two.answer[7] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"; /* not by itself */
    p->config.stall_timeout_ms = AWAY_MS - 50;
    start(p, &other, (struct http_params){.url = url});
    /* Until curl, which has timers of its own while it connects, is at rest, and would not read by itself. */
    for (uint64_t begin = now_ns(), now = begin; now < begin + AWAY_MS / 2 * NSEC_PER_MSEC; now = now_ns())
        assert_int_equal(loop_once(p->loop, 20), 0);
    assert_int_equal(p->two.asked, 1);
    start(p, &o, (struct http_params){.url = p->url});
    run(p, &o);
    run(p, &other);
    assert_int_equal(o.ret, 0);
    assert_int_equal(other.ret, 0);
    assert_string_equal(other.body, "second");
}

/* Each byte comes in time, the whole does not. */
static void a_document_has_an_end_in_time(void **state)
{
    struct place *p = *state;
    struct outcome o = {0}, whole = {0};
    p->one.answer[0] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    start(p, &whole, (struct http_params){.url = p->url, .total_ms = 5000});
    run(p, &whole);
    assert_int_equal(whole.ret, 0);
    uint64_t begin = now_ns(), end = begin + DEADLINE_NS;
    unsigned pieces = 0;
    start(p, &o, (struct http_params){.url = p->url, .total_ms = 700});
    while (!o.dones) {
        assert_true(now_ns() < end);
        assert_int_equal(loop_once(p->loop, 50), 0);
        if (p->one.asked < 2 || o.dones)
            continue;
        const char *piece = pieces++ ? "x" : "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        assert_int_equal(write(p->one.talking.fd, piece, strlen(piece)), strlen(piece));
        usleep(20 * 1000);
    }
    assert_true(o.len > 3);
    assert_int_equal(o.ret, -ETIMEDOUT);
    assert_non_null(strstr(o.err.text, "not whole after 700 ms"));
    assert_true(now_ns() - begin >= 700 * NSEC_PER_MSEC);
}

static void a_cut_answer_is_told(void **state)
{
    struct place *p = *state;
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
                                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
                                          "HTTP/1.1 200 OK\r\nTransfer-Enc"};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct outcome o = {0};
        p->one.answer[i] = answers[i];
        start(p, &o, (struct http_params){.url = p->url});
        run(p, &o);
        assert_int_equal(o.ret, -ECONNRESET);
    }
}

static void redirects_keep_and_drop_the_authorization(void **state)
{
    struct place *p = *state;
    struct outcome o = {0};
    char elsewhere[128];
    snprintf(elsewhere, sizeof(elsewhere),
             "HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:%d/z\r\nContent-Length: 3\r\n\r\nbye",
             p->two.port);
    p->one.answer[0] = "HTTP/1.1 307 T\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n";
    p->one.answer[1] = elsewhere;
    p->two.answer[0] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend";
    start(p, &o, (struct http_params){.url = p->url, .authorization = "Bearer secret", .offset = 3});
    run(p, &o);
    assert_int_equal(o.ret, 0);
    assert_int_equal(o.heads, 1);
    assert_string_equal(o.body, "end");
    assert_non_null(strstr(p->one.request[0], "Authorization: Bearer secret"));
    assert_non_null(strstr(p->one.request[1], "GET /y"));
    assert_non_null(strstr(p->one.request[1], "Authorization: Bearer secret"));
    assert_non_null(strstr(p->two.request[0], "GET /z"));
    assert_non_null(strstr(p->two.request[0], "Range: bytes=3-"));
    assert_null(strstr(p->two.request[0], "secret"));
    assert_int_equal(http_count(p->http), 3);
}

static void plain_http_needs_to_be_allowed(void **state)
{
    struct place *p = *state;
    static const struct http_ops ops = {on_head, on_body, on_done};
    struct outcome o = {0};
    struct http_request *r;
    struct err e = {0};
    static const struct {
        const char *url;
        int code;
    } refused[] = {{"http://127.0.0.1:1/", OCI_E_TLS},
                   {"ftp://127.0.0.1/", -EINVAL},
                   {"http://u@127.0.0.1/", -EINVAL},
                   {"", -EINVAL}};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct http_params params = {.url = refused[i].url, .ops = &ops, .ctx = &o};
        assert_int_equal(http_start(p->http, &params, &r, &e), refused[i].code);
        assert_true(e.text[0]);
    }
    assert_int_equal(o.dones, 0);
    assert_int_equal(http_count(p->http), 0);
}

static volatile sig_atomic_t pipes;

static void count_pipe(int signo)
{
    (void)signo;
    pipes++;
}

static void the_signal_of_a_closed_pipe_is_held_back(void **state)
{
    (void)state;
    struct sigpipe guard;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    signal(SIGPIPE, count_pipe);
    sigpipe_hold(&guard);
    assert_int_equal(write(fds[1], "x", 1), -1);
    sigpipe_release(&guard);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(pipes, 0);
    assert_int_equal(write(fds[1], "x", 1), -1); /* outside, it comes */
    assert_int_equal(pipes, 1);
    /* One that was pending before is not ours to take. */
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    assert_int_equal(write(fds[1], "x", 1), -1);
    sigpipe_hold(&guard);
    sigpipe_release(&guard);
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
    assert_int_equal(pipes, 2);
    signal(SIGPIPE, SIG_DFL);
    close(fds[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_comes_in_order),
        TEST(statuses_without_a_body_are_answers_too),
        TEST(an_owner_may_end_it_and_start_another),
        TEST(what_is_cancelled_says_nothing),
        TEST(silence_is_a_failure_and_slowness_is_none),
        TEST(our_own_long_work_is_not_the_hosts_silence),
        TEST(a_document_has_an_end_in_time),
        TEST(a_cut_answer_is_told),
        TEST(redirects_keep_and_drop_the_authorization),
        TEST(plain_http_needs_to_be_allowed),
        cmocka_unit_test(the_signal_of_a_closed_pipe_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
