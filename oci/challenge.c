/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a list of challenges and the parameters inside one are both separated by commas, so
 * what a word is shows only behind it: with a '=' it is a parameter of the challenge at hand, else the scheme
 * of the next one. A scheme may also be followed by one token68 (as Negotiate is); its '=' stand at its end
 * only, before a comma or the end, which no parameter has.
 */
#include "oci/challenge.h"

#include "oci/oci_error.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* RFC 9110 §5.6.2 */
static bool is_tchar(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(const char *at)
{
    size_t n = 0;
    while (is_tchar(at[n]))
        n++;
    return n;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static bool word_is(const char *at, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(at, word, len) == 0;
}

static int fault(struct err *e, const char *what)
{
    return err_set(e, OCI_E_REGISTRY, "a WWW-Authenticate header that is not well-formed: %s", what);
}

/* The field that a parameter goes to; NULL: it is passed over. */
static char *field_of(struct challenge *c, const char *name, size_t len)
{
    if (word_is(name, len, "realm"))
        return c->realm;
    if (word_is(name, len, "service"))
        return c->service;
    if (word_is(name, len, "scope"))
        return c->scope;
    return word_is(name, len, "error") ? c->error : NULL;
}

/* A value, in quotes or not, to `out` of CHALLENGE_VALUE_MAX + 1 bytes. Moves *at behind it. */
static int take_value(const char **at, char *out, struct err *e)
{
    size_t n = 0;
    const char *p = *at;
    bool quoted = *p == '"';
    p += quoted;
    while (quoted ? *p != '"' : is_tchar(*p)) {
        if (quoted && *p == '\\')
            p++;
        if (!*p)
            return fault(e, "a quoted string does not end");
        /* It may end in a text for people: no control characters for their terminal. */
        if ((unsigned char)*p < ' ' || *p == 0x7F)
            return fault(e, "a value has control characters");
        if (n == CHALLENGE_VALUE_MAX)
            return fault(e, "a value is too long");
        out[n++] = *p++;
    }
    out[n] = '\0';
    if (!quoted && n == 0)
        return fault(e, "a parameter has no value");
    *at = p + quoted;
    return 0;
}

/* The length of a token68 that ends its challenge, or 0. RFC 9110 §11.2 */
static size_t token68_len(const char *at)
{
    size_t n = 0;
    while (is_tchar(at[n]) || at[n] == '/')
        n++;
    if (n == 0)
        return 0;
    n += strspn(at + n, "=");
    const char *behind = skip_blanks(at + n);
    return *behind == '\0' || *behind == ',' ? n : 0;
}

/* A challenge's scheme, and what may follow it at once. */
static const char *take_scheme(struct challenge *c, const char *at, size_t len)
{
    if (word_is(at, len, "bearer"))
        c->scheme = AUTH_BEARER;
    else if (word_is(at, len, "basic"))
        c->scheme = AUTH_BASIC;
    const char *next = skip_blanks(at + len);
    return next + token68_len(next);
}

static int take_parameter(struct challenge *c, const char **at, size_t name_len, struct err *e)
{
    char value[CHALLENGE_VALUE_MAX + 1];
    char *field = field_of(c, *at, name_len);
    const char *p = skip_blanks(skip_blanks(*at + name_len) + 1);
    int ret = take_value(&p, value, e);
    if (ret < 0)
        return ret;
    /* The first of two counts: a second one is not there by accident. */
    if (field && !field[0])
        strcpy(field, value);
    *at = p;
    return 0;
}

int challenges_add(struct challenges *c, const char *value, struct err *e)
{
    struct challenge spare = {0}, *now = NULL;
    for (const char *at = value;;) {
        at += strspn(at, " \t,");
        if (!*at)
            return 0;
        size_t len = token_len(at);
        if (len == 0)
            return fault(e, "a word is expected");
        int ret = 0;
        if (now && *skip_blanks(at + len) == '=') {
            ret = take_parameter(now, &at, len, e);
        } else {
            now = c->count < CHALLENGES_MAX ? &c->item[c->count++] : &spare;
            *now = (struct challenge){0};
            at = take_scheme(now, at, len);
            if (*at && *at != ',' && token_len(at) == 0)
                ret = fault(e, "a parameter is expected");
            if (ret == 0 && *at != ',')
                continue; /* the first parameter stands behind the scheme without a comma */
        }
        if (ret < 0)
            return ret;
        at = skip_blanks(at);
        if (*at && *at != ',')
            return fault(e, "a comma is expected");
    }
}

const struct challenge *challenges_choose(const struct challenges *c)
{
    const struct challenge *basic = NULL;
    for (size_t i = 0; i < c->count; i++) {
        if (c->item[i].scheme == AUTH_BEARER && c->item[i].realm[0])
            return &c->item[i];
        if (c->item[i].scheme == AUTH_BASIC && !basic)
            basic = &c->item[i];
    }
    return basic;
}
