/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a reference is cut from its end, where the marks are unambiguous: the digest behind
 * the only '@', the tag behind a ':' that no '/' follows, then the first part, which is a registry if it
 * looks like one. Each piece is checked against its own rule, character by character, so that the text of an
 * error can say which piece it was.
 */
#include "oci/ref.h"

#include "oci/oci_error.h"

#include <stdio.h>
#include <string.h>

/* A piece of the text. */
struct span {
    const char *at;
    size_t len;
};

static const char lower_or_digit[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char letter_or_digit[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
static const char digits[] = "0123456789";
static const char hex_digits[] = "0123456789abcdef";

static bool one_of(const char *set, char c)
{
    return c && strchr(set, c);
}

static bool all_of(const char *set, struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!one_of(set, s.at[i]))
            return false;
    return s.len > 0;
}

static bool has_upper(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] >= 'A' && s.at[i] <= 'Z')
            return true;
    return false;
}

static bool span_is(struct span s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.at, word, s.len) == 0;
}

/* The first position of `c`, or s.len. */
static size_t find(struct span s, char c)
{
    const char *at = memchr(s.at, c, s.len);
    return at ? (size_t)(at - s.at) : s.len;
}

static struct span from(struct span s, size_t at)
{
    return (struct span){s.at + at, s.len - at};
}

static void copy_span(char *out, struct span s)
{
    memcpy(out, s.at, s.len);
    out[s.len] = '\0';
}

/* "a", "a-1": letters, digits and inner hyphens. */
static bool host_part_ok(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!one_of(letter_or_digit, s.at[i]) && s.at[i] != '-')
            return false;
    return s.len > 0 && s.at[0] != '-' && s.at[s.len - 1] != '-';
}

/* Host names and IPv4 addresses: parts with dots between. */
static bool host_name_ok(struct span s)
{
    for (;;) {
        size_t dot = find(s, '.');
        if (!host_part_ok((struct span){s.at, dot}))
            return false;
        if (dot == s.len)
            return true;
        s = from(s, dot + 1);
    }
}

static bool port_ok(struct span s)
{
    unsigned port = 0;
    if (!all_of(digits, s) || s.len > 5)
        return false;
    for (size_t i = 0; i < s.len; i++)
        port = 10 * port + (unsigned)(s.at[i] - '0');
    return port >= 1 && port <= 65535;
}

static int check_domain(struct span s, const char *text, struct err *e)
{
    size_t host_len = find(s, ':');
    bool ok;
    if (s.at[0] == '[') {
        size_t close = find(s, ']');
        host_len = close < s.len ? close + 1 : s.len;
        ok = close < s.len && all_of("0123456789abcdefABCDEF:", (struct span){s.at + 1, close - 1});
    } else {
        ok = host_name_ok((struct span){s.at, host_len});
    }
    if (!ok)
        return err_set(e, OCI_E_REFERENCE, "image reference '%s': '%.*s' is not a host name or address", text,
                       (int)host_len, s.at);
    if (host_len < s.len && (s.at[host_len] != ':' || !port_ok(from(s, host_len + 1))))
        return err_set(e, OCI_E_REFERENCE, "image reference '%s': '%.*s' is not a port from 1 to 65535", text,
                       (int)(s.len - host_len - 1), s.at + host_len + 1);
    if (s.len > REF_DOMAIN_MAX)
        return err_set(e, OCI_E_REFERENCE, "image reference: the registry's name has more than %d characters",
                       REF_DOMAIN_MAX);
    return 0;
}

/* How many characters at `s` separate two words of a name: '.', '_', "__", or any number of '-'. */
static size_t separator_len(struct span s)
{
    size_t n = 0;
    if (s.at[0] == '.')
        return 1;
    if (s.at[0] == '_')
        return s.len > 1 && s.at[1] == '_' ? 2 : 1;
    while (n < s.len && s.at[n] == '-')
        n++;
    return n;
}

/* Words of lower-case letters and digits, with one separator between two of them. */
static bool path_part_ok(struct span s)
{
    for (;;) {
        size_t word = 0;
        while (word < s.len && one_of(lower_or_digit, s.at[word]))
            word++;
        if (word == 0)
            return false;
        s = from(s, word);
        if (s.len == 0)
            return true;
        s = from(s, separator_len(s));
        if (s.len == 0)
            return false;
    }
}

static int check_path(struct span s, const char *text, struct err *e)
{
    if (has_upper(s))
        return err_set(e, OCI_E_REFERENCE, "image reference '%s': the name '%.*s' must be lower case", text,
                       (int)s.len, s.at);
    if (s.len > REF_PATH_MAX)
        return err_set(e, OCI_E_REFERENCE, "image reference: the name has more than %d characters",
                       REF_PATH_MAX);
    for (struct span rest = s;;) {
        size_t slash = find(rest, '/');
        if (slash == 0)
            return err_set(e, OCI_E_REFERENCE, "image reference '%s': a part of the name is empty", text);
        if (!path_part_ok((struct span){rest.at, slash}))
            return err_set(e, OCI_E_REFERENCE,
                           "image reference '%s': '%.*s' is not a name (lower-case letters and digits, with "
                           "'.', '_', '__' or '-' between them)",
                           text, (int)slash, rest.at);
        if (slash == rest.len)
            return 0;
        rest = from(rest, slash + 1);
    }
}

static int check_tag(struct span s, const char *text, struct err *e)
{
    bool ok = s.len > 0 && s.len <= REF_TAG_MAX && s.at[0] != '.' && s.at[0] != '-';
    for (size_t i = 0; i < s.len && ok; i++)
        ok = one_of(letter_or_digit, s.at[i]) || one_of("_.-", s.at[i]);
    if (ok)
        return 0;
    if (s.len == 0)
        return err_set(e, OCI_E_REFERENCE, "image reference '%s': the tag behind ':' is empty", text);
    return err_set(e, OCI_E_REFERENCE,
                   "image reference '%s': '%.*s' is not a tag (at most %d of letters, digits, '_', '.' and "
                   "'-', the first no '.' or '-')",
                   text, (int)s.len, s.at, REF_TAG_MAX);
}

/* Cuts the tag off the end of *s; *tag is empty when there is none. A ':' in front of a '/' is a port's. */
static bool cut_tag(struct span *s, struct span *tag)
{
    size_t at = s->len;
    while (at > 0 && s->at[at - 1] != ':' && s->at[at - 1] != '/')
        at--;
    *tag = (struct span){s->at + s->len, 0};
    if (at == 0 || s->at[at - 1] != ':')
        return false;
    *tag = from(*s, at);
    s->len = at - 1;
    return true;
}

/* Whether the first part of a name is a registry; else it is a folder on Docker Hub. */
static bool looks_like_domain(struct span s)
{
    return find(s, '.') < s.len || find(s, ':') < s.len || has_upper(s) || span_is(s, "localhost");
}

/* Cuts the domain off the front, or completes it. Checks both. */
static int split_name(struct oci_ref *r, struct span name, const char *text, struct err *e)
{
    size_t slash = find(name, '/');
    struct span domain = {name.at, slash}, path = name;
    bool given = slash < name.len && looks_like_domain(domain);
    if (given) {
        int ret = check_domain(domain, text, e);
        if (ret < 0)
            return ret;
        path = from(name, slash + 1);
    }
    if (path.len == 0)
        return err_set(e, OCI_E_REFERENCE, "image reference '%s': the name is empty", text);
    int ret = check_path(path, text, e);
    if (ret < 0)
        return ret;
    if (!given || span_is(domain, "index.docker.io"))
        domain = (struct span){REF_DOCKER_HUB, strlen(REF_DOCKER_HUB)};
    bool official = span_is(domain, REF_DOCKER_HUB) && find(path, '/') == path.len;
    if (official && path.len + strlen("library/") > REF_PATH_MAX)
        return err_set(e, OCI_E_REFERENCE, "image reference: the name has more than %d characters",
                       REF_PATH_MAX);
    copy_span(r->domain, domain);
    strcpy(r->path, official ? "library/" : "");
    copy_span(r->path + strlen(r->path), path);
    return 0;
}

/* Docker keeps these for the ids of images, which are no references. */
static bool looks_like_id(struct span s)
{
    return s.len == 64 && all_of(hex_digits, s);
}

int oci_ref_parse(struct oci_ref *out, const char *text, struct err *e)
{
    struct oci_ref r = {0};
    struct span name = {text, strlen(text)}, tag;
    if (name.len == 0)
        return err_set(e, OCI_E_REFERENCE, "an image reference is empty");
    if (strstr(text, "://"))
        return err_set(e, OCI_E_REFERENCE, "image reference '%s' is a URL; leave out what ends in ://", text);
    size_t at = find(name, '@');
    if (at < name.len) {
        struct err why = {0};
        if (digest_parse(&r.digest, name.at + at + 1, &why) < 0)
            return err_set(e, OCI_E_REFERENCE, "image reference '%s': %s", text, why.text);
        r.has_digest = true;
        name.len = at;
    }
    bool has_tag = cut_tag(&name, &tag);
    int ret = has_tag ? check_tag(tag, text, e) : 0;
    if (ret < 0)
        return ret;
    if (looks_like_id(name))
        return err_set(e, OCI_E_REFERENCE,
                       "image reference '%s': 64 hexadecimal digits are not a name; write NAME@sha256:…",
                       text);
    ret = split_name(&r, name, text, e);
    if (ret < 0)
        return ret;
    if (has_tag)
        copy_span(r.tag, tag);
    else if (!r.has_digest)
        strcpy(r.tag, "latest");
    *out = r;
    return 0;
}

/* "name[:tag][@digest]" */
static void put_text(const struct oci_ref *r, const char *domain, const char *path, char *out)
{
    snprintf(out, REF_TEXT_MAX, "%s%s%s%s%s%s%s", domain, *domain ? "/" : "", path, *r->tag ? ":" : "",
             r->tag, r->has_digest ? "@" : "", r->has_digest ? r->digest.text : "");
}

void oci_ref_canonical(const struct oci_ref *r, char out[REF_TEXT_MAX])
{
    put_text(r, r->domain, r->path, out);
}

void oci_ref_familiar(const struct oci_ref *r, char out[REF_TEXT_MAX])
{
    const char *path = r->path;
    bool hub = strcmp(r->domain, REF_DOCKER_HUB) == 0;
    if (hub && strncmp(path, "library/", 8) == 0 && !strchr(path + 8, '/') &&
        !looks_like_id((struct span){path + 8, strlen(path + 8)}))
        path += 8;
    /* docker.io/my.group/x: without the domain, the first part would be taken for one. */
    size_t slash = strcspn(path, "/");
    if (hub && path[slash] && looks_like_domain((struct span){path, slash}))
        hub = false;
    put_text(r, hub ? "" : r->domain, hub ? path : r->path, out);
}

const char *oci_ref_selector(const struct oci_ref *r)
{
    return r->has_digest ? r->digest.text : r->tag;
}
