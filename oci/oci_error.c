/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a table of short names, for logs and for the callers who print a class beside the
 * text.
 */
#include "oci/oci_error.h"

#include <string.h>

const char *oci_failure_name(int code)
{
    switch (code) {
    case OCI_E_REFERENCE:
        return "bad image reference";
    case OCI_E_NO_HOST:
        return "no such host";
    case OCI_E_REFUSED:
        return "connection refused";
    case OCI_E_TLS:
        return "TLS failure";
    case OCI_E_STALLED:
        return "the registry does not answer";
    case OCI_E_UNAUTHORIZED:
        return "unauthorized";
    case OCI_E_NOT_FOUND:
        return "no such image";
    case OCI_E_REGISTRY:
        return "registry failure";
    case OCI_E_PLATFORM:
        return "not for this platform";
    case OCI_E_DIGEST:
        return "digest mismatch";
    case OCI_E_FORMAT:
        return "malformed image";
    case OCI_E_UNSUPPORTED:
        return "unsupported image";
    case OCI_E_LIMIT:
        return "over a limit";
    case OCI_E_AMBIGUOUS:
        return "ambiguous name";
    case OCI_E_IN_USE:
        return "in use";
    default:
        return strerror(code < 0 ? -code : code);
    }
}
