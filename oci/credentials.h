/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are at a registry, as `docker login` left it in ~/.docker/config.json: "auths" (with "auth" or
 * "identitytoken"), "credHelpers" and "credsStore". The file is Docker's: keys that are not known are passed
 * over.
 */
#ifndef CUBBY_OCI_CREDENTIALS_H
#define CUBBY_OCI_CREDENTIALS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define CREDENTIALS_FILE_MAX     (1024 * 1024)
#define CREDENTIAL_HELPER_MS     30000 /* a helper may ask for a password to open its store */
#define CREDENTIAL_HELPER_OUTPUT 65536

struct credential {
    char *user;
    char *secret;        /* a password; or, for identity_token, what a token is asked for with */
    bool identity_token; /* then `user` is NULL */
};

void credential_fini(struct credential *c);

struct credentials;

/* Reads the file; `path` NULL: $DOCKER_CONFIG/config.json or ~/.docker/config.json, which need not be there.
 * A file that is not well-formed is an error. */
int credentials_load(struct credentials **out, const char *path, struct err *e);
/* From the file's text; for tests and the fuzzer. */
int credentials_parse(struct credentials **out, const char *text, size_t len, struct err *e);
/* Safe on NULL. */
void credentials_destroy(struct credentials *c);

/*
 * Looks for the registry ("docker.io", "localhost:5000"): the helper that is named for it, else the general
 * one, else the file itself. 0, or -ENOENT when there are none. Other errors are a helper's, or entries that
 * cannot be understood. May run a helper and wait for it, but not longer than until `cancel_fd` is readable
 * (-1: none; -ECANCELED then).
 */
int credentials_find(const struct credentials *c, const char *registry, int cancel_fd, struct credential *out,
                     struct err *e);

/*
 * Runs `docker-credential-<name> get` and reads what it knows of `server`. -ENOENT when it has nothing;
 * -ETIMEDOUT when it takes longer than `timeout_ms`: it is killed then. No shell is involved, and it gets no
 * descriptor but its three own.
 */
int credential_helper_get(const char *name, const char *server, int timeout_ms, int cancel_fd,
                          struct credential *out, struct err *e);

#endif
