/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How images fail, told apart. Functions of oci/ return 0, a negative errno of the host (-ENOSPC, -EACCES,
 * -ECANCELED…), or one of these, which lie below the range of errno. All of them are values of `err.code`;
 * the text in the struct says which object, which registry, and why.
 */
#ifndef CUBBY_OCI_OCI_ERROR_H
#define CUBBY_OCI_OCI_ERROR_H

enum oci_failure {
    OCI_E_REFERENCE = -5001,    /* what the user wrote is no image reference */
    OCI_E_NO_HOST = -5002,      /* the registry's name cannot be resolved */
    OCI_E_REFUSED = -5003,      /* nobody listens there, or no route leads there */
    OCI_E_TLS = -5004,          /* certificate or handshake */
    OCI_E_STALLED = -5005,      /* the registry fell silent, or the connection was cut, more than once */
    OCI_E_UNAUTHORIZED = -5006, /* no credentials, wrong ones, or ones that do not suffice */
    OCI_E_NOT_FOUND = -5007,    /* no such repository or tag; or no such image in the store or the archive */
    OCI_E_REGISTRY = -5008,     /* an answer that the protocol does not know, or 429 and 5xx to the end */
    OCI_E_PLATFORM = -5009,     /* the image exists, but not for this platform */
    OCI_E_DIGEST = -5010,       /* bytes are not those that their digest or size promises */
    OCI_E_FORMAT = -5011,       /* JSON, tar or compressed data that is not well-formed */
    OCI_E_UNSUPPORTED = -5012,  /* well-formed, but a kind that cubby does not take: the text says which */
    OCI_E_LIMIT = -5013,        /* larger than a limit of struct oci_limits allows: the text says which */
    OCI_E_AMBIGUOUS = -5014,    /* a short id or a name that fits several images */
    OCI_E_IN_USE = -5015,       /* would take away what another process is using */
};

/* "digest mismatch" and the like for `code`; for other codes what strerror(3) says. Never NULL. */
const char *oci_failure_name(int code);

#endif
