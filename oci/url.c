/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: libcurl's own parser reads the URL, so that what is checked here and where the request
 * goes later cannot differ. But a configuration names registries at each start, also of a command that needs
 * no network and so no libcurl (base/lazy.h). So what is plain is read here: a scheme, a name of letters,
 * digits, hyphens and dots or an IPv4 address in its usual form, perhaps a port, perhaps a path. There is one
 * way to read that. All that could be read in two ways, and all that is wrong, is left to libcurl.
 */
#include "oci/url.h"

#include "base/own.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"
/* Of a path, as RFC 3986 has it without percent signs, and without ':' and '@', which a host may have before.
 */
#define PATH_CHARS LETTERS DIGITS "-._~/"

static void url_freep(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void curl_str_freep(char **s)
{
    curl_free(*s);
}

static uint16_t default_port(bool https)
{
    return https ? 443 : 80;
}

static int copy_host(char out[URL_HOST_MAX + 1], const char *host)
{
    size_t len = strlen(host);
    if (len == 0 || len > URL_HOST_MAX)
        return -EINVAL;
    for (size_t i = 0; i <= len; i++)
        out[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + 32) : host[i];
    return 0;
}

/* By libcurl. */
static int read_any(struct url_origin *out, const char *url, struct err *e)
{
    CLEANUP(url_freep) CURLU *u = curl_url();
    CLEANUP(curl_str_freep) char *scheme = NULL;
    CLEANUP(curl_str_freep) char *host = NULL;
    CLEANUP(curl_str_freep) char *port = NULL;
    CLEANUP(curl_str_freep) char *user = NULL;
    if (!u)
        return err_set(e, -ENOMEM, "cannot read a URL: no memory");
    if (strlen(url) > URL_TEXT_MAX)
        return err_set(e, -EINVAL, "a URL has more than %d characters", URL_TEXT_MAX);
    CURLUcode bad = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (bad || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(u, CURLUPART_HOST, &host, 0) ||
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
        return err_set(e, -EINVAL, "'%s' is not a URL: %s", url, bad ? curl_url_strerror(bad) : "no host");
    bool https = strcmp(scheme, "https") == 0;
    if (!https && strcmp(scheme, "http") != 0)
        return err_set(e, -EINVAL, "'%s' is neither an https nor an http URL", url);
    if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        return err_set(e, -EINVAL, "a URL of '%s' has a user's name in it, which is not supported", host);
    struct url_origin o = {.https = https, .port = (uint16_t)strtoul(port, NULL, 10)};
    if (copy_host(o.host, host) < 0)
        return err_set(e, -EINVAL, "'%s' is not a URL: the host's name is too long", url);
    *out = o;
    return 0;
}

/* A number up to `max` in front of one of the characters `ends`, or the end; NULL, or what follows it. */
static const char *plain_number(const char *s, unsigned long max, const char *ends, unsigned long *out)
{
    size_t len = strspn(s, DIGITS);
    if (len == 0 || len > 5 || (len > 1 && s[0] == '0') || (s[len] && !strchr(ends, s[len])))
        return NULL;
    *out = strtoul(s, NULL, 10);
    return *out <= max ? s + len : NULL;
}

static bool is_plain_ipv4(const char *host)
{
    unsigned long byte;
    for (int i = 0; i < 4; i++) {
        const char *end = plain_number(host, 255, i < 3 ? "." : ":/", &byte);
        if (!end || (i < 3 && *end != '.'))
            return false;
        host = end + (i < 3);
    }
    return true;
}

/* `len` bytes that are a name, and that nobody takes for a number: its last part begins with a letter. */
static bool is_plain_name(const char *host, size_t len)
{
    size_t last = len;
    while (last > 0 && host[last - 1] != '.')
        last--;
    for (size_t i = 0; i + 1 < len; i++) {
        if (host[i] == '.' && host[i + 1] == '.')
            return false;
    }
    return len > 0 && host[0] != '.' && host[0] != '-' && last < len && strchr(LETTERS, host[last]);
}

static bool read_plain(struct url_origin *out, const char *url)
{
    struct url_origin o = {.https = strncmp(url, "https://", 8) == 0};
    unsigned long port = default_port(o.https);
    if (!o.https && strncmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + (o.https ? 8 : 7);
    size_t len = strspn(host, LETTERS DIGITS "-.");
    const char *rest = host + len;
    if (len > URL_HOST_MAX || (!is_plain_ipv4(host) && !is_plain_name(host, len)))
        return false;
    if (*rest == ':' && (!(rest = plain_number(rest + 1, UINT16_MAX, "/", &port)) || port == 0))
        return false;
    if (*rest && (*rest != '/' || rest[strspn(rest, PATH_CHARS)] || strlen(url) > URL_TEXT_MAX))
        return false;
    o.port = (uint16_t)port;
    for (size_t i = 0; i < len; i++)
        o.host[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + 32) : host[i];
    *out = o;
    return true;
}

int url_origin_parse(struct url_origin *out, const char *url, struct err *e)
{
    return read_plain(out, url) ? 0 : read_any(out, url, e);
}

int url_host_parse(struct url_origin *out, const char *name, struct err *e)
{
    char url[URL_ORIGIN_MAX + 1];
    struct url_origin o;
    int n = snprintf(url, sizeof(url), "https://%s", name);
    /* What a host's name cannot hold would become another part of the URL. */
    if (n >= (int)sizeof(url) || name[strcspn(name, "/?#@\\ ")] || url_origin_parse(&o, url, NULL) < 0)
        return err_set(e, -EINVAL, "'%s' is not the name of a registry: HOST or HOST:PORT is expected", name);
    const char *colon = strrchr(name, ':');
    if (!colon || strchr(colon, ']'))
        o.port = 0;
    *out = o;
    return 0;
}

bool url_origin_equal(const struct url_origin *a, const struct url_origin *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}

bool url_host_matches(const struct url_origin *name, const struct url_origin *origin)
{
    uint16_t port = name->port ? name->port : default_port(origin->https);
    return port == origin->port && strcmp(name->host, origin->host) == 0;
}

void url_origin_name(const struct url_origin *o, char out[URL_ORIGIN_MAX])
{
    if (o->port && o->port != default_port(o->https))
        snprintf(out, URL_ORIGIN_MAX, "%s:%u", o->host, o->port);
    else
        snprintf(out, URL_ORIGIN_MAX, "%s", o->host);
}
