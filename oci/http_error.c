/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table from curl's codes to classes. Two of them need a second look: "could not
 * connect" covers refusals, dead routes and time-outs, told apart by the errno of the last connect(2); and a
 * failed TLS handshake may be one that was cut, which only the text of OpenSSL tells.
 */
#include "oci/http_error.h"

#include "oci/oci_error.h"

#include <errno.h>
#include <string.h>

static int class_of(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return OCI_E_NO_HOST;
    case CURLE_COULDNT_CONNECT:
        return OCI_E_REFUSED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return OCI_E_TLS;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return OCI_E_REGISTRY;
    }
}

/* OpenSSL reports a connection that ends amid the handshake as a failure of its own. */
static int was_cut(const char *text)
{
    return strstr(text, "SSL_ERROR_SYSCALL") || strstr(text, "reset by peer");
}

int http_error(CURL *easy, CURLcode code, const char *host, const char *text, struct err *e)
{
    int class = class_of(code);
    long os_errno = 0;
    const char *why = *text ? text : curl_easy_strerror(code);
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    if (class == OCI_E_TLS && was_cut(text))
        class = -ECONNRESET;
    switch (class) {
    case OCI_E_NO_HOST:
        return err_set(e, class, "no such host: %s",
                       code == CURLE_COULDNT_RESOLVE_PROXY ? "the proxy's name cannot be resolved" : host);
    case OCI_E_REFUSED:
        if (os_errno == ETIMEDOUT)
            return err_set(e, -ETIMEDOUT, "cannot connect to '%s': it does not answer", host);
        return err_set(e, class, "cannot connect to '%s': %s", host,
                       os_errno ? strerror((int)os_errno) : why);
    case OCI_E_TLS:
        return err_set(e, class, "no trusted connection to '%s': %s", host, why);
    case -ETIMEDOUT:
        return err_set(e, class, "'%s' does not answer: %s", host, why);
    case -ECONNRESET:
        return err_set(e, class, "the connection to '%s' was cut: %s", host, why);
    default:
        return err_set(e, class, "cannot talk to '%s': %s", host, why);
    }
}
