/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the file is parsed once and kept as a JSON document, since it is small and most
 * registries need nothing of it. Docker Hub is known in it by the URL of its first index; other registries by
 * host, which older versions wrote as a URL as well: keys are compared by host.
 */
#include "oci/credentials.h"

#include "base/io.h"
#include "base/own.h"
#include "oci/json.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HUB_SERVER "https://index.docker.io/v1/"
#define AUTH_MAX   16384 /* characters of an "auth" */

struct credentials {
    json_t *root;
};

static void free_secret(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

void credential_fini(struct credential *c)
{
    free(c->user);
    free_secret(c->secret);
    *c = (struct credential){0};
}

int credentials_parse(struct credentials **out, const char *text, size_t len, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *root = NULL;
    int ret =
        json_parse(&root, text, len, CREDENTIALS_FILE_MAX, "the file's size", "Docker's configuration", e);
    if (ret < 0)
        return ret;
    struct credentials *c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(e, -ENOMEM, "cannot read credentials: no memory");
    c->root = STEAL(root);
    *out = c;
    return 0;
}

static int default_path(char out[PATH_MAX], struct err *e)
{
    const char *folder = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    int n;
    if (folder && *folder)
        n = snprintf(out, PATH_MAX, "%s/config.json", folder);
    else if (home && *home)
        n = snprintf(out, PATH_MAX, "%s/.docker/config.json", home);
    else
        return -ENOENT;
    return n < PATH_MAX ? 0 : err_set(e, -ENAMETOOLONG, "the path of Docker's configuration is too long");
}

int credentials_load(struct credentials **out, const char *path, struct err *e)
{
    CLEANUP(mem_freep) char *text = NULL;
    char standard[PATH_MAX];
    size_t len = 0;
    int ret = path ? 0 : default_path(standard, e);
    if (ret == 0)
        ret = read_file(path ? path : standard, CREDENTIALS_FILE_MAX, &text, &len, e);
    if (ret == -ENOENT && !path)
        return credentials_parse(out, "{}", 2, e);
    if (ret == 0 && (ret = credentials_parse(out, text, len, e)) < 0)
        err_prefix(e, "%s", path ? path : standard);
    if (text)
        explicit_bzero(text, len);
    return ret;
}

void credentials_destroy(struct credentials *c)
{
    if (!c)
        return;
    json_decref(c->root);
    free(c);
}

/* The host of a key: without scheme and path. */
static bool key_is_host(const char *key, const char *host)
{
    const char *scheme = strstr(key, "://");
    if (scheme)
        key = scheme + 3;
    size_t len = strcspn(key, "/");
    return len == strlen(host) && strncmp(key, host, len) == 0;
}

static const char *server_of(const char *registry)
{
    return strcmp(registry, "docker.io") == 0 ? HUB_SERVER : registry;
}

/* The member of the registry in an object whose keys are servers, or NULL. */
static const json_t *find_server(const json_t *object, const char *registry)
{
    const char *key, *host = strcmp(registry, "docker.io") == 0 ? "index.docker.io" : registry;
    json_t *value = json_object_get(object, server_of(registry));
    if (value)
        return value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (key_is_host(key, host) || strcmp(key, registry) == 0)
            return value;
    }
    return NULL;
}

/* "auth": base64 of "user:password". */
static int decode_auth(struct credential *out, const char *auth, const char *registry, struct err *e)
{
    size_t len = strlen(auth);
    CLEANUP(mem_freep) unsigned char *plain = malloc(len + 1);
    if (!plain)
        return err_set(e, -ENOMEM, "cannot read credentials: no memory");
    int n =
        len <= AUTH_MAX && len % 4 == 0 ? EVP_DecodeBlock(plain, (const unsigned char *)auth, (int)len) : -1;
    for (size_t pad = len; n > 0 && pad > 0 && len - pad < 2 && auth[pad - 1] == '='; pad--)
        n--; /* it counts the padding as bytes */
    char *colon = n > 0 ? memchr(plain, ':', (size_t)n) : NULL;
    int ret = 0;
    if (!colon || memchr(plain, '\0', (size_t)n)) {
        ret =
            err_set(e, OCI_E_FORMAT,
                    "Docker's configuration: the \"auth\" of '%s' is not base64 of USER:PASSWORD", registry);
    } else {
        size_t user = (size_t)(colon - (char *)plain);
        out->user = strndup((char *)plain, user);
        out->secret = strndup(colon + 1, (size_t)n - user - 1);
        if (!out->user || !out->secret)
            ret = err_set(e, -ENOMEM, "cannot read credentials: no memory");
    }
    explicit_bzero(plain, len + 1);
    if (ret < 0)
        credential_fini(out);
    return ret;
}

/* What the file itself holds. */
static int find_in_file(const struct credentials *c, const char *registry, struct credential *out,
                        struct err *e)
{
    const json_t *entry = find_server(json_object_get(c->root, "auths"), registry);
    const char *token = json_string_value(json_object_get(entry, "identitytoken"));
    const char *auth = json_string_value(json_object_get(entry, "auth"));
    if (token && *token) {
        out->secret = strdup(token);
        out->identity_token = true;
        return out->secret ? 0 : err_set(e, -ENOMEM, "cannot read credentials: no memory");
    }
    return auth && *auth ? decode_auth(out, auth, registry, e) : -ENOENT;
}

int credentials_find(const struct credentials *c, const char *registry, int cancel_fd, struct credential *out,
                     struct err *e)
{
    const char *helper = json_string_value(find_server(json_object_get(c->root, "credHelpers"), registry));
    if (!helper)
        helper = json_string_value(json_object_get(c->root, "credsStore"));
    *out = (struct credential){0};
    if (helper && *helper) {
        int ret = credential_helper_get(helper, server_of(registry), CREDENTIAL_HELPER_MS, cancel_fd, out, e);
        if (ret != -ENOENT)
            return ret;
    }
    return find_in_file(c, registry, out, e);
}
