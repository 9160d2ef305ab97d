/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a list of grants, each an Authorization header that holds for an origin and a scope.
 * Basic answers hold for all scopes of an origin (scope ""), tokens for their scope and their time, less a
 * margin for what is under way. A 401 makes a job: it finds the credentials, asks the token server by GET, or
 * with an identity token by OAuth2's POST, and adds a grant.
 */
#include "oci/auth.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/json.h"
#include "oci/oci_error.h"
#include "oci/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_ANSWER_MAX     (256 * 1024)
#define TOKEN_SECONDS        60 /* when the answer does not say: the specification's default */
#define TOKEN_SECONDS_MAX    86400
#define TOKEN_MARGIN_SECONDS 5

struct grant {
    struct grant *next;
    struct url_origin origin;
    char *scope;
    char *value;
    uint64_t expires_ns;
};

struct auth {
    struct http *http;
    const struct credentials *credentials;
    int cancel_fd;
    struct grant *first;
};

struct auth_job {
    struct auth *auth;
    struct http_request *request;
    struct url_origin origin;
    char *scope, *realm;
    int status;
    char *answer;
    size_t answer_len;
    void (*done)(void *ctx, int ret, const struct err *e);
    void *ctx;
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "cannot authorize a request: no memory");
}

/* --- grants --- */

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

static void grant_free(struct grant *g)
{
    wipe(g->value);
    free(g->scope);
    free(g);
}

/* The link to the grant for this origin and scope that still holds, or NULL. Drops what has expired. */
static struct grant **find_grant(struct auth *a, const struct url_origin *origin, const char *scope)
{
    uint64_t now = now_ns();
    for (struct grant **at = &a->first; *at;) {
        struct grant *g = *at;
        if (g->expires_ns <= now) {
            *at = g->next;
            grant_free(g);
            continue;
        }
        if (url_origin_equal(&g->origin, origin) && (!*g->scope || strcmp(g->scope, scope) == 0))
            return at;
        at = &g->next;
    }
    return NULL;
}

static void forget_grant(struct auth *a, const struct url_origin *origin, const char *scope)
{
    struct grant **at = find_grant(a, origin, scope), *g = at ? *at : NULL;
    if (!g)
        return;
    *at = g->next;
    grant_free(g);
}

/* Takes over `value`. */
static int add_grant(struct auth *a, const struct url_origin *origin, const char *scope, char *value,
                     uint64_t expires_ns, struct err *e)
{
    struct grant *g = calloc(1, sizeof(*g));
    if (!g || !value || !(g->scope = strdup(scope))) {
        free(g);
        wipe(value);
        return no_memory(e);
    }
    g->origin = *origin;
    g->value = value;
    g->expires_ns = expires_ns;
    g->next = a->first;
    a->first = g;
    return 0;
}

const char *auth_value(struct auth *a, const struct url_origin *origin, const char *scope)
{
    struct grant **at = find_grant(a, origin, scope);
    return at ? (*at)->value : NULL;
}

int auth_create(struct auth **out, struct http *http, const struct credentials *c, int cancel_fd,
                struct err *e)
{
    struct auth *a = calloc(1, sizeof(*a));
    if (!a)
        return no_memory(e);
    *a = (struct auth){.http = http, .credentials = c, .cancel_fd = cancel_fd};
    *out = a;
    return 0;
}

void auth_destroy(struct auth *a)
{
    if (!a)
        return;
    for (struct grant *g; (g = a->first);) {
        a->first = g->next;
        grant_free(g);
    }
    free(a);
}

/* "Basic " and base64 of "user:password"; NULL without memory. */
static char *basic_value(const struct credential *c)
{
    CLEANUP(mem_freep) char *plain = NULL;
    int n = asprintf(&plain, "%s:%s", c->user, c->secret);
    if (n < 0) {
        plain = NULL;
        return NULL;
    }
    char *value = malloc(sizeof("Basic ") + 4 * ((size_t)n + 2) / 3 + 1);
    if (value) {
        strcpy(value, "Basic ");
        EVP_EncodeBlock((unsigned char *)value + strlen(value), (unsigned char *)plain, n);
    }
    explicit_bzero(plain, (size_t)n);
    return value;
}

/* --- the token server's answer --- */

int auth_parse_token(const char *text, size_t len, char **token, unsigned *seconds, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *root = NULL;
    int ret =
        json_parse(&root, text, len, TOKEN_ANSWER_MAX, "the answer's size", "a token server's answer", e);
    if (ret < 0)
        return ret;
    const char *found = json_string_value(json_object_get(root, "token"));
    if (!found || !*found)
        found = json_string_value(json_object_get(root, "access_token"));
    if (!found || !*found)
        return err_set(e, OCI_E_FORMAT, "a token server's answer has no token");
    /* It goes into a header: what could end that has no place in it (RFC 6750 §2.1). */
    if (strspn(found, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=") !=
        strlen(found))
        return err_set(e, OCI_E_FORMAT, "a token server's answer has a token with bytes that none may have");
    json_int_t life = json_integer_value(json_object_get(root, "expires_in"));
    *seconds = life <= 0 ? TOKEN_SECONDS : life > TOKEN_SECONDS_MAX ? TOKEN_SECONDS_MAX : (unsigned)life;
    *token = strdup(found);
    return *token ? 0 : no_memory(e);
}

static void job_free(struct auth_job *j)
{
    if (j->answer)
        explicit_bzero(j->answer, j->answer_len);
    free(j->answer);
    free(j->scope);
    free(j->realm);
    free(j);
}

void auth_cancel(struct auth_job *j)
{
    if (!j)
        return;
    http_cancel(j->request);
    job_free(j);
}

static int token_head(void *ctx, const struct http_request *r, struct err *e)
{
    struct auth_job *j = ctx;
    (void)e;
    j->status = http_status(r);
    return 0;
}

static int token_body(void *ctx, const void *data, size_t len, struct err *e)
{
    struct auth_job *j = ctx;
    if (len > TOKEN_ANSWER_MAX - j->answer_len)
        return err_set(e, OCI_E_REGISTRY, "token server '%s' answers with more than %d bytes", j->realm,
                       TOKEN_ANSWER_MAX);
    char *more = realloc(j->answer, j->answer_len + len);
    if (!more)
        return no_memory(e);
    memcpy(more + j->answer_len, data, len);
    j->answer = more;
    j->answer_len += len;
    return 0;
}

/* Makes a grant of a good answer; tells a refusal from a failure of the server. */
static int understand(struct auth_job *j, struct err *e)
{
    CLEANUP(mem_freep) char *token = NULL;
    unsigned seconds = 0;
    if (j->status == 429 || j->status >= 500)
        return err_set(e, -EAGAIN, "token server '%s' answers with status %d", j->realm, j->status);
    if (j->status == 400 || j->status == 401 || j->status == 403)
        return err_set(e, OCI_E_UNAUTHORIZED, "token server '%s' refuses the login (status %d)", j->realm,
                       j->status);
    if (j->status != 200)
        return err_set(e, OCI_E_REGISTRY, "token server '%s' answers with status %d", j->realm, j->status);
    int ret = auth_parse_token(j->answer ? j->answer : "", j->answer_len, &token, &seconds, e);
    if (ret < 0 || !token)
        return ret;
    CLEANUP(mem_freep) char *value = NULL;
    bool made = asprintf(&value, "Bearer %s", token) >= 0;
    explicit_bzero(token, strlen(token));
    if (!made) {
        value = NULL;
        return no_memory(e);
    }
    uint64_t life = seconds > 2 * TOKEN_MARGIN_SECONDS ? seconds - TOKEN_MARGIN_SECONDS : seconds;
    return add_grant(j->auth, &j->origin, j->scope, STEAL(value), now_ns() + life * NSEC_PER_SEC, e);
}

static void token_done(void *ctx, const struct http_request *r, int ret, const struct err *e)
{
    struct auth_job *j = ctx;
    struct err why = *e;
    (void)r;
    j->request = NULL;
    if (ret == 0)
        ret = understand(j, &why);
    log_debug(LOG_NET, "token for '%s' from '%s': %s", j->scope, j->realm, ret < 0 ? why.text : "granted");
    void (*done)(void *, int, const struct err *) = j->done;
    void *owner = j->ctx;
    job_free(j);
    done(owner, ret, &why);
}

/* --- asking --- */

/* "service=…&scope=…&scope=…"; NULL without memory. */
static char *query_of(const struct challenge *c, const char *scope)
{
    struct text t = {0};
    text_add(&t, "service=");
    text_add_escaped(&t, c->service, strlen(c->service));
    while (*scope) {
        size_t len = strcspn(scope, " ");
        if (len) {
            text_add(&t, "&scope=");
            text_add_escaped(&t, scope, len);
        }
        scope += len + (scope[len] == ' ');
    }
    return text_take(&t);
}

/* The URL of the GET, or the form of the POST in *form. */
static int make_request(const struct challenge *c, const char *scope, const struct credential *who,
                        char **url, char **form)
{
    CLEANUP(mem_freep) char *query = query_of(c, scope);
    struct text t = {0};
    if (!query)
        return -ENOMEM;
    if (who->identity_token) {
        text_add(&t, "grant_type=refresh_token&client_id=cubby&");
        text_add(&t, query);
        text_add(&t, "&refresh_token=");
        text_add_escaped(&t, who->secret, strlen(who->secret));
        *form = text_take(&t);
        *url = strdup(c->realm);
        return *form && *url ? 0 : -ENOMEM;
    }
    text_add(&t, c->realm);
    text_add(&t, strchr(c->realm, '?') ? "&" : "?");
    text_add(&t, query);
    *url = text_take(&t);
    return *url ? 0 : -ENOMEM;
}

static int start_job(struct auth_job *j, const struct challenge *c, const struct credential *who,
                     struct err *e)
{
    static const struct http_ops ops = {token_head, token_body, token_done};
    char *url = NULL, *form = NULL, *basic = NULL;
    int ret = make_request(c, *c->scope ? c->scope : j->scope, who, &url, &form);
    if (ret == 0 && who->user && !(basic = basic_value(who)))
        ret = -ENOMEM;
    if (ret < 0) {
        no_memory(e);
    } else {
        const struct http_params p = {
            .url = url,
            .total_ms = http_config(j->auth->http)->document_timeout_ms,
            .form = form,
            .authorization = basic,
            .ops = &ops,
            .ctx = j,
        };
        ret = http_start(j->auth->http, &p, &j->request, e);
    }
    free(url);
    wipe(form);
    wipe(basic);
    return ret;
}

static int ask_for_token(struct auth *a, const struct auth_question *q, const struct challenge *c,
                         const struct credential *who, struct auth_job **out, struct err *e)
{
    struct auth_job *j = calloc(1, sizeof(*j));
    if (!j)
        return no_memory(e);
    *j = (struct auth_job){.auth = a, .origin = *q->origin, .done = q->done, .ctx = q->ctx};
    j->scope = strdup(q->scope);
    j->realm = strdup(c->realm);
    int ret = j->scope && j->realm ? start_job(j, c, who, e) : no_memory(e);
    if (ret < 0) {
        err_prefix(e, "token server '%s'", c->realm);
        job_free(j);
        return ret;
    }
    *out = j;
    return 0;
}

static int answer_as(struct auth *a, const struct auth_question *q, const struct challenge *c,
                     const struct credential *who, struct auth_job **out, struct err *e)
{
    if (c->scheme == AUTH_BEARER)
        return ask_for_token(a, q, c, who, out, e);
    if (!who->user)
        return err_set(e, OCI_E_UNAUTHORIZED, "a login is needed and there are no credentials for '%s'",
                       q->registry);
    int ret = add_grant(a, q->origin, "", basic_value(who), UINT64_MAX, e);
    return ret < 0 ? ret : 1;
}

int auth_answer(struct auth *a, const struct auth_question *q, struct auth_job **out, struct err *e)
{
    const struct challenge *c = challenges_choose(q->challenges);
    struct credential who = {0};
    struct err why = {0};
    *out = NULL;
    forget_grant(a, q->origin, q->scope);
    if (!c)
        return err_set(e, OCI_E_UNAUTHORIZED, "the registry offers no way to log in that cubby knows");
    int ret = credentials_find(a->credentials, q->registry, a->cancel_fd, &who, &why);
    if (ret == -ECANCELED || ret == -ENOMEM)
        return err_set(e, ret, "%s", why.text);
    /* Public images need no login: whether the failure matters is for the registry to say. */
    if (ret < 0 && ret != -ENOENT)
        log_warn(LOG_NET, "no credentials for '%s': %s", q->registry, why.text);
    ret = answer_as(a, q, c, &who, out, e);
    credential_fini(&who);
    return ret;
}
