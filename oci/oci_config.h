/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of ~/.config/cubby/config.json that is about images: registries, downloads, limits.
 *
 *     {
 *       "registries": {
 *         "docker.io": {"mirrors": ["https://mirror.example/hub", "http://127.0.0.1:5000"]},
 *         "registry.example:5000": {"insecure": true},
 *         "ghcr.io": {"ca_file": "/etc/ssl/our-proxy.pem"}
 *       },
 *       "downloads": {"parallel": 4, "attempts": 5, "backoff_ms": 500, "stall_timeout_ms": 30000,
 *                     "connect_timeout_ms": 15000, "document_timeout_ms": 60000},
 *       "limits": {"layers": 500, "layer_bytes": 68719476736}
 *     }
 *
 * Registries are named as in references, HOST or HOST:PORT. Mirrors are tried in their order before the
 * registry itself. "insecure" means plain http; a mirror written with http:// is as good as named insecure.
 * "ca_file" holds the certificates that the host is trusted by, in place of the system's. "limits" has the
 * fields of struct oci_limits. A key that is not known is refused: a misspelt limit must not be no limit.
 */
#ifndef CUBBY_OCI_OCI_CONFIG_H
#define CUBBY_OCI_OCI_CONFIG_H

#include "base/err.h"
#include "oci/limits.h"
#include "oci/url.h"

#include <stdbool.h>
#include <stddef.h>

#define OCI_CONFIG_MAX     (1024 * 1024) /* bytes of the file */
#define OCI_PARALLEL_MAX   16
#define OCI_ATTEMPTS_MAX   20
#define OCI_MIRRORS_MAX    16
#define OCI_REGISTRIES_MAX 1000
#define OCI_TIMEOUT_MAX_MS 3600000

struct registry_config {
    char *name;
    struct url_origin host; /* `name`, parsed; the scheme means nothing */
    char **mirror;          /* URLs without a slash at the end */
    size_t nmirrors;
    bool insecure;
    char *ca_file; /* or NULL */
};

/* Never changed while a client uses it, so that any number of threads may. */
struct oci_config {
    struct registry_config *registry;
    size_t nregistries;
    uint64_t parallel;            /* downloads at a time */
    uint64_t attempts;            /* for one request at one host */
    uint64_t backoff_ms;          /* before the second attempt; doubled for each one after */
    uint64_t stall_timeout_ms;    /* without a byte */
    uint64_t connect_timeout_ms;  /* name look-up, TCP and TLS together */
    uint64_t document_timeout_ms; /* a whole manifest, index or token server's answer */
    struct oci_limits limits;
};

/* The defaults, as in the text above; no registries. */
void oci_config_init(struct oci_config *c);
void oci_config_fini(struct oci_config *c);

/* Adds what the text says to *c, which is initialised. -EINVAL with line and key; *c is then only good for
 * oci_config_fini(). */
int oci_config_parse(struct oci_config *c, const char *text, size_t len, struct err *e);

/* Initialises *c and reads the file; `path` NULL: $XDG_CONFIG_HOME/cubby/config.json, or the same below
 * ~/.config, which need not be there. On failure *c holds nothing to free. */
int oci_config_load(struct oci_config *c, const char *path, struct err *e);

/* Names a registry insecure, as --insecure-registry does. */
int oci_config_add_insecure(struct oci_config *c, const char *name, struct err *e);

/* The entry of the registry with this name, or NULL. */
const struct registry_config *oci_config_find(const struct oci_config *c, const char *name);

/* Whether plain http may be spoken to this host, and so also whether secrets may go to it unencrypted. */
bool oci_config_allows_http(const struct oci_config *c, const struct url_origin *o);
/* The file of certificates for this host; NULL: the system's. */
const char *oci_config_ca_file(const struct oci_config *c, const struct url_origin *o);

#endif
