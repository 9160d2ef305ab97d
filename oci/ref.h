/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to images, as people type them: "python:slim", "ghcr.io/a/b@sha256:…", "localhost:5000/x".
 *
 * The grammar is that of the distribution project's reference specification; short names are completed as
 * Docker does: the registry is docker.io unless the first part holds a '.' or a ':' or an upper-case letter
 * or is "localhost", a name of one part on docker.io lies below library/, and the tag is "latest" where
 * neither tag nor digest is given.
 *
 *     [domain[:port] '/'] part ['/' part]* [':' tag] ['@' digest]
 */
#ifndef CUBBY_OCI_REF_H
#define CUBBY_OCI_REF_H

#include "base/err.h"
#include "oci/digest.h"

#include <stdbool.h>
#include <stddef.h>

#define REF_DOMAIN_MAX 255 /* with the port */
#define REF_PATH_MAX   255
#define REF_TAG_MAX    128
#define REF_TEXT_MAX   (REF_DOMAIN_MAX + 1 + REF_PATH_MAX + 1 + REF_TAG_MAX + 1 + sizeof(struct digest))

#define REF_DOCKER_HUB "docker.io"

struct oci_ref {
    char domain[REF_DOMAIN_MAX + 1]; /* "docker.io", "localhost:5000", "[::1]:5000" */
    char path[REF_PATH_MAX + 1];     /* "library/python" */
    char tag[REF_TAG_MAX + 1];       /* "" when only a digest was given */
    bool has_digest;                 /* then `digest` says which image it is, and the tag is a note */
    struct digest digest;
};

/* Parses and completes. OCI_E_REFERENCE with a text that quotes `text` and says what is wrong with which
 * part; *out is then unchanged. */
int oci_ref_parse(struct oci_ref *out, const char *text, struct err *e);

/* The complete form, the same for all spellings: "docker.io/library/python:slim". */
void oci_ref_canonical(const struct oci_ref *r, char out[REF_TEXT_MAX]);

/* The shortest form that oci_ref_parse() takes for the same: "python:slim". */
void oci_ref_familiar(const struct oci_ref *r, char out[REF_TEXT_MAX]);

/* What follows the name in a request for the manifest: the digest, or else the tag. */
const char *oci_ref_selector(const struct oci_ref *r);

#endif
